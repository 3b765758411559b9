/** @file Every kind of picture comes out as the same RGB; damaged ones are refused. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { probeImage, readImage, verifyImage } from '../../src/data/read-image.ts';
import { UserError } from '../../src/tensor/user-error.ts';
import { flat, noise, png, redBlue, row16, temporaryFolder } from './pictures.ts';

async function save(name: string, bytes: Buffer): Promise<string> {
  const path = join(await temporaryFolder(), name);
  await writeFile(path, bytes);
  return path;
}

const level = (value: number) => Math.round((value + 1) * 127.5);

/** The colour at a place of a readImage result, 0 to 255. */
async function colourAt(
  path: string,
  [width, height]: readonly [number, number],
  [x, y]: readonly [number, number],
  flip = false,
): Promise<number[]> {
  const { data, shape } = await readImage(path, { width, height, flip });
  expect(shape).toEqual([3, height, width]);
  return [0, 1, 2].map((c) => level(data[c * width * height + y * width + x] ?? Number.NaN));
}

const size = [32, 32] as const;
const middle = [16, 16] as const;

describe('pictures of one colour', () => {
  const colour = [200, 100, 50];
  const w = 40;
  const h = 30;
  const cases: [string, () => Promise<Buffer>, number[], number][] = [
    ['JPEG', () => flat(w, h).jpeg({ quality: 100 }).toBuffer(), colour, 2],
    [
      'progressive JPEG',
      () => flat(w, h).jpeg({ progressive: true, quality: 100 }).toBuffer(),
      colour,
      2,
    ],
    ['PNG', () => flat(w, h).png().toBuffer(), colour, 0],
    ['WebP', () => flat(w, h).webp({ lossless: true }).toBuffer(), colour, 0],
    ['AVIF', () => flat(w, h).avif({ quality: 90, effort: 0 }).toBuffer(), colour, 4],
    ['TIFF', () => flat(w, h).tiff({ compression: 'lzw' }).toBuffer(), colour, 0],
    ['palette PNG', () => flat(w, h).png({ palette: true }).toBuffer(), colour, 0],
    [
      'CMYK JPEG',
      () => flat(w, h).toColourspace('cmyk').jpeg({ quality: 100 }).toBuffer(),
      colour,
      35,
    ],
    ['Display P3', () => flat(w, h).withIccProfile('p3').png().toBuffer(), colour, 2],
    [
      'greyscale JPEG',
      () => flat(w, h, '#808080').toColourspace('b-w').jpeg().toBuffer(),
      [128, 128, 128],
      1,
    ],
    [
      'half transparent PNG',
      () => flat(w, h, '#000000').ensureAlpha(0.5).png().toBuffer(),
      [127, 127, 127],
      1,
    ],
  ];
  test.each(cases)('%s', async (_, make, expected, tolerance) => {
    const actual = await colourAt(await save('picture', await make()), size, middle);
    for (const [c, value] of actual.entries()) {
      expect(Math.abs(value - (expected[c] ?? -1000))).toBeLessThanOrEqual(tolerance);
    }
  });
});

describe('PNGs of other depths', () => {
  const w = 40;
  const picture = { width: w, height: 30 };
  const values = [40000, 20000, 60000];
  const deep: [string, Buffer, number[]][] = [
    [
      '16-bit RGB',
      png({ ...picture, depth: 16, colourType: 2, row: row16(w, values) }),
      [156, 78, 233],
    ],
    [
      '16-bit grey',
      png({ ...picture, depth: 16, colourType: 0, row: row16(w, [40000]) }),
      [156, 156, 156],
    ],
    [
      '16-bit RGBA',
      png({ ...picture, depth: 16, colourType: 6, row: row16(w, [0, 0, 0, 32768]) }),
      [127, 127, 127],
    ],
    [
      '16-bit grey and alpha',
      png({ ...picture, depth: 16, colourType: 4, row: row16(w, [0, 0]) }),
      [255, 255, 255],
    ],
    [
      '1-bit grey',
      png({ ...picture, depth: 1, colourType: 0, row: Buffer.alloc(w / 8, 0xff) }),
      [255, 255, 255],
    ],
    [
      'transparent palette',
      png({
        ...picture,
        depth: 8,
        colourType: 3,
        row: Buffer.alloc(w, 1),
        chunks: [
          ['PLTE', Buffer.of(9, 9, 9, 200, 100, 50)],
          ['tRNS', Buffer.of(255, 0)],
        ],
      }),
      [255, 255, 255],
    ],
  ];
  test.each(deep)('%s PNG', async (_, bytes, expected) => {
    const actual = await colourAt(await save('picture.png', bytes), size, middle);
    for (const [c, value] of actual.entries()) {
      expect(Math.abs(value - (expected[c] ?? -1000))).toBeLessThanOrEqual(1);
    }
  });
});

describe('geometry', () => {
  test('values run from -1 to 1, a plane per channel', async () => {
    const path = await save('a.png', await redBlue(64, 64).png().toBuffer());
    const { data } = await readImage(path, { width: 64, height: 64 });
    expect([data[0], data[4096], data[2 * 4096]]).toEqual([1, -1, -1]);
    expect([data[63], data[2 * 4096 + 63]]).toEqual([-1, 1]);
  });

  test('EXIF orientation turns the picture before it is measured and cropped', async () => {
    // Orientation 6: the camera lay on its side; what is stored on the left is seen on top.
    const bytes = await redBlue(64, 32).withMetadata({ orientation: 6 }).jpeg().toBuffer();
    const path = await save('turned.jpg', bytes);
    expect(await probeImage(path)).toMatchObject({ width: 32, height: 64, format: 'jpeg' });
    expect((await colourAt(path, [32, 64], [16, 4]))[0]).toBeGreaterThan(200);
    expect((await colourAt(path, [32, 64], [16, 60]))[2]).toBeGreaterThan(200);
  });

  test('flip mirrors left and right', async () => {
    const path = await save('a.png', await redBlue(32, 32).png().toBuffer());
    expect(await colourAt(path, size, [2, 16])).toEqual([255, 0, 0]);
    expect(await colourAt(path, size, [2, 16], true)).toEqual([0, 0, 255]);
  });

  test('what overhangs is cut off on both sides alike', async () => {
    const path = await save('wide.png', await redBlue(128, 32).png().toBuffer());
    expect(await colourAt(path, size, [12, 16])).toEqual([255, 0, 0]);
    expect(await colourAt(path, size, [19, 16])).toEqual([0, 0, 255]);
  });

  test('a small picture is enlarged to cover', async () => {
    const path = await save('small.png', await flat(10, 7).png().toBuffer());
    expect(await colourAt(path, [64, 48], [63, 47])).toEqual([200, 100, 50]);
  });
});

describe('headers', () => {
  test('tells alpha, format and colour space, whatever the name', async () => {
    const alpha = await save('a.jpg', await flat(20, 10).ensureAlpha(0.5).png().toBuffer());
    expect(await probeImage(alpha)).toEqual({
      width: 20,
      height: 10,
      hasAlpha: true,
      format: 'png',
      colourSpace: 'srgb',
    });
    const cmyk = await save('b.jpg', await flat(8, 8).toColourspace('cmyk').jpeg().toBuffer());
    expect(await probeImage(cmyk)).toMatchObject({ colourSpace: 'cmyk', format: 'jpeg' });
    const avif = await save('c.avif', await flat(16, 16).avif({ effort: 0 }).toBuffer());
    expect(await probeImage(avif)).toMatchObject({ format: 'avif' });
  });

  test('refuses what is no picture, other formats and missing files, with the name', async () => {
    const page = await save('page.jpg', Buffer.from('<html><body>404</body></html>'));
    await expect(probeImage(page)).rejects.toThrow(/page\.jpg: .*expected JPEG/);
    const empty = await save('empty.png', Buffer.alloc(0));
    await expect(probeImage(empty)).rejects.toThrow(/empty\.png: /);
    const gif = await save('anim.png', await flat(8, 8).gif().toBuffer());
    await expect(probeImage(gif)).rejects.toThrow(/anim\.png: is a gif file/);
    await expect(probeImage('/no/such.png')).rejects.toThrow('/no/such.png: no such file');
    await expect(probeImage('/no/such.png')).rejects.toBeInstanceOf(UserError);
  });

  test('refuses a header that claims a giant picture', async () => {
    const row = Buffer.alloc(1);
    const bytes = png({ width: 60000, height: 1, depth: 1, colourType: 0, row });
    // The height, and the header's checksum, which libpng wants right.
    bytes.writeUInt32BE(60000, 20);
    const honest = png({ width: 60000, height: 60000, depth: 1, colourType: 0, row: Buffer.of(0) });
    honest.copy(bytes, 29, 29, 33);
    const path = await save('giant.png', bytes);
    await expect(probeImage(path)).rejects.toThrow(/giant\.png: has more than \d+ pixels/);
  });
});

describe('damage', () => {
  const make = {
    jpeg: () => noise(160, 160).jpeg().toBuffer(),
    progressive: () => noise(160, 160).jpeg({ progressive: true }).toBuffer(),
    png: () => noise(160, 160).png().toBuffer(),
    webp: () => noise(160, 160).webp().toBuffer(),
    avif: () => noise(160, 160).avif({ effort: 0 }).toBuffer(),
    tiff: () => noise(160, 160).tiff({ compression: 'lzw' }).toBuffer(),
  };
  test.each(Object.entries(make))('a %s file that is cut short is refused', async (name, bytes) => {
    const whole = await bytes();
    for (const share of [0.5, 0.97]) {
      const path = await save(`cut.${name}`, whole.subarray(0, Math.floor(whole.length * share)));
      const message = new RegExp(`cut\\.${name}: .*(replace|remove)`);
      await expect(readImage(path, { width: 64, height: 64 })).rejects.toThrow(message);
      await expect(verifyImage(path)).rejects.toThrow(message);
      await expect(verifyImage(path)).rejects.toBeInstanceOf(UserError);
    }
  });

  test('a JPEG with a damaged middle is refused, stray bytes between markers are not', async () => {
    const whole = await make.jpeg();
    const damaged = Buffer.from(whole);
    for (let i = 0; i < 50; i++) damaged[Math.floor(whole.length / 2) + 7 * i] = (37 * i) & 0xfe;
    await expect(verifyImage(await save('middle.jpg', damaged))).rejects.toThrow(/middle\.jpg/);
    const app0 = 4 + whole.readUInt16BE(4);
    const stray = Buffer.concat([
      whole.subarray(0, app0),
      Buffer.of(1, 2, 3),
      whole.subarray(app0),
    ]);
    await verifyImage(await save('stray.jpg', stray));
  });
});
