/** @file Pixels go into a PNG and come back. */

import { expect, test } from 'vitest';
import { encodePng } from '../../../src/train/pictures/encode-png.ts';
import { decode, pixel } from './pixels.ts';

const picture = {
  width: 5,
  height: 4,
  rgb: Uint8Array.from({ length: 60 }, (_, i) => (i * 37) % 256),
};

test('keeps every pixel, and gives the same bytes again', async () => {
  const png = await encodePng(picture);
  const back = await decode(png);
  expect(back).toMatchObject({ width: 5, height: 4 });
  expect(Array.from(back.rgb)).toEqual(Array.from(picture.rgb));
  expect(await encodePng(picture)).toEqual(png);
});

test('draws over it', async () => {
  const overlay = '<rect x="1" y="2" width="1" height="1" fill="#ff0000"/>';
  const back = await decode(await encodePng(picture, overlay));
  expect(pixel(back, 1, 2)).toEqual([255, 0, 0]);
  expect(pixel(back, 2, 2)).toEqual(pixel(picture, 2, 2));
});

test('refuses pixels of another size', async () => {
  await expect(encodePng({ ...picture, width: 4 })).rejects.toThrow(
    'internal: 60 bytes are no RGB picture of 4×4',
  );
});
