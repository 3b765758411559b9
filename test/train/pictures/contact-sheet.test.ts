/** @file Every picture is on the sheet, pixel by pixel, beside its label and below its heading. */

import { expect, test } from 'vitest';
import { renderContactSheet } from '../../../src/train/pictures/contact-sheet.ts';
import type { Picture } from '../../../src/train/pictures/encode-png.ts';
import { decode, find, pixel } from './pixels.ts';

/** A picture of noise with a first channel that tells it from others. */
function noise(width: number, height: number, red: number): Picture {
  const rgb = Uint8Array.from({ length: width * height * 3 }, (_, i) =>
    i % 3 === 0 ? red : 100 + ((i * 7919) % 113),
  );
  return { width, height, rgb };
}

/** Fails unless the picture stands there, each of its pixels as a square. */
function expectAt(sheet: Picture, picture: Picture, left: number, top: number, scale: number) {
  let wrong = 0;
  for (let y = 0; y < picture.height * scale; y++) {
    for (let x = 0; x < picture.width * scale; x++) {
      const from = (Math.floor(y / scale) * picture.width + Math.floor(x / scale)) * 3;
      const to = ((top + y) * sheet.width + left + x) * 3;
      for (const channel of [0, 1, 2]) {
        if (sheet.rgb[to + channel] !== picture.rgb[from + channel]) wrong++;
      }
    }
  }
  expect(wrong).toBe(0);
}

/** Where the pixels with this first channel start. */
function cornerOf(sheet: Picture, red: number): [number, number] {
  for (let at = 0; at < sheet.width * sheet.height; at++) {
    if (sheet.rgb[at * 3] === red && sheet.rgb[at * 3 + 1]! < 220) {
      return [at % sheet.width, Math.floor(at / sheet.width)];
    }
  }
  throw new Error('not there');
}

const plain = (images: Picture[]) => ({ label: '', images });

test('pictures alone, without any text', async () => {
  const images = [noise(200, 150, 10), noise(200, 150, 20)];
  const sheet = await decode(await renderContactSheet({ rows: [plain(images), plain(images)] }));
  expect(sheet).toMatchObject({ width: 16 + 200 + 8 + 200 + 16, height: 16 + 150 + 8 + 150 + 16 });
  for (const [row, column] of [
    [0, 0],
    [0, 1],
    [1, 0],
    [1, 1],
  ] as const) {
    expectAt(sheet, images[column]!, 16 + 208 * column, 16 + 158 * row, 1);
  }
  expect(pixel(sheet, 2, 2)).toEqual([255, 255, 255]);
});

test('tiny pictures are doubled, pixel by pixel', async () => {
  const image = noise(64, 48, 10);
  const sheet = await decode(await renderContactSheet({ rows: [plain([image])] }));
  expect(sheet).toMatchObject({ width: 32 + 128, height: 32 + 96 });
  expectAt(sheet, image, 16, 16, 2);
});

test('the sheet has one scale, and cells as large as the largest of their row and column', async () => {
  const rows = [
    plain([noise(200, 60, 10), noise(50, 220, 20)]),
    plain([noise(80, 40, 30), noise(120, 50, 40)]),
    plain([noise(90, 70, 50)]),
  ];
  const sheet = await decode(await renderContactSheet({ rows }));
  expect(sheet).toMatchObject({ width: 32 + 200 + 8 + 120, height: 32 + 220 + 8 + 50 + 8 + 70 });
  const places = [
    [16, 16],
    [224, 16],
    [16, 244],
    [224, 244],
    [16, 302],
  ] as const;
  const images = rows.flatMap((row) => row.images);
  for (const [i, [x, y]] of places.entries()) expectAt(sheet, images[i]!, x, y, 1);
});

test('labels are left of their row, headings above their column, the title above all', async () => {
  const rows = [
    { label: 'before', images: [noise(200, 100, 10), noise(200, 100, 20)] },
    { label: 'after', images: [noise(200, 100, 30), noise(200, 100, 40)] },
  ];
  const columns = ['a red circle', 'a blue square'];
  const png = await renderContactSheet({ rows, columns, title: 'previews' });
  expect(await renderContactSheet({ rows, columns, title: 'previews' })).toEqual(png);
  const sheet = await decode(png);
  const ink = (box: Parameters<typeof find>[2]) => find(sheet, '#222222', box).length;
  for (const [column, red] of [
    [0, 10],
    [1, 20],
  ] as const) {
    const [x, y] = cornerOf(sheet, red);
    expect(ink({ left: x, right: x + 90, top: y - 26, bottom: y })).toBeGreaterThan(25);
    expect(ink({ left: x + 120, right: x + 200, top: y - 26, bottom: y })).toBe(0);
    expectAt(sheet, rows[0]!.images[column]!, x, y, 1);
  }
  for (const red of [10, 30]) {
    const [x, y] = cornerOf(sheet, red);
    expect(ink({ left: 16, right: x - 8, top: y + 35, bottom: y + 65 })).toBeGreaterThan(40);
    expect(ink({ left: 16, right: x - 8, top: y, bottom: y + 30 })).toBe(0);
  }
  expect(ink({ left: 16, right: 120, top: 16, bottom: 38 })).toBeGreaterThan(60);
});

test('long texts are wrapped and cut, and never reach the pictures', async () => {
  const words = 'masterpiece, best quality, a very long prompt '.repeat(20);
  const rows = [{ label: words, images: [noise(200, 40, 10), noise(200, 40, 20)] }];
  const columns = [words, words.replaceAll(' ', '')];
  const sheet = await decode(await renderContactSheet({ rows, columns, title: words }));
  const [x, y] = cornerOf(sheet, 10);
  expect(x).toBeLessThan(16 + 130 + 20);
  expect(y).toBeLessThan(130);
  expectAt(sheet, rows[0]!.images[0]!, x, y, 1);
  expectAt(sheet, rows[0]!.images[1]!, x + 208, y, 1);
  const margins = [
    { left: sheet.width - 14 },
    { left: 0, right: 14 },
    { left: x + 201, right: x + 207, top: 40 },
    { left: x - 8, right: x, top: 40 },
  ];
  for (const box of margins) expect(find(sheet, '#222222', box)).toEqual([]);
});

test('refuses a sheet without pictures, and pixels of another size', async () => {
  await expect(renderContactSheet({ rows: [plain([])] })).rejects.toThrow(
    'internal: a contact sheet without pictures',
  );
  const broken = { ...noise(10, 10, 0), width: 11 };
  await expect(renderContactSheet({ rows: [plain([broken])] })).rejects.toThrow(
    'internal: 300 bytes are no RGB picture of 11×10',
  );
});
