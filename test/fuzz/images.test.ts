/** @file Damaged pictures of every format: each is decoded to its size, or refused. */

import { rmSync, writeFileSync } from 'node:fs';
import { beforeAll, expect, test, vi } from 'vitest';
import { probeImage, readImage, verifyImage } from '../../src/data/read-image.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { noise } from '../data/pictures.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';
import { damagedBytes } from './damage.ts';
import { guardCases, runCases } from './survives.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });
const at = temporaryFolder();
guardCases();

let pictures: readonly (readonly [name: string, cases: number, bytes: Buffer])[] = [];
beforeAll(async () => {
  const picture = noise(24, 16);
  pictures = [
    ['png', 400, await picture.clone().png().toBuffer()],
    ['palette.png', 150, await picture.clone().png({ palette: true }).toBuffer()],
    ['jpg', 300, await picture.clone().withExif({ IFD0: { Orientation: '6' } }).jpeg().toBuffer()],
    ['progressive.jpg', 150, await picture.clone().jpeg({ progressive: true }).toBuffer()],
    ['webp', 200, await picture.clone().webp().toBuffer()],
    ['lossless.webp', 150, await picture.clone().webp({ lossless: true }).toBuffer()],
    ['tiff', 200, await picture.clone().tiff().toBuffer()],
    ['avif', 150, await picture.clone().avif({ effort: 0 }).toBuffer()],
  ]; // biome-ignore format: a table
});

test('pictures', async () => {
  let refusals = 0;
  for (const [name, count, bytes] of pictures) {
    const { read, refused } = await runCases(name, count, async (i) => {
      const path = at(`${i}.${name}`);
      writeFileSync(path, damagedBytes(new Rng(7, name, i), bytes));
      try {
        const { width, height } = await probeImage(path);
        expect(width * height).toBeGreaterThan(0);
        await verifyImage(path);
        const { shape, data } = await readImage(path, { width: 16, height: 8 });
        expect(shape).toEqual([3, 8, 16]);
        expect(data.every((value) => value >= -1 && value <= 1)).toBe(true);
      } finally {
        rmSync(path);
      }
    });
    expect(read + refused).toBe(count);
    expect(refused).toBeGreaterThan(count / 10);
    refusals += refused;
  }
  expect(refusals).toBeGreaterThan(600);
});
