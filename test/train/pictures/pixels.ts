/** @file Reads a PNG back and finds colours in it. */

import sharp from 'sharp';
import type { Picture } from '../../../src/train/pictures/encode-png.ts';

/** A colour as `#rrggbb`. */
export type Color = `#${string}`;

export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** The pixels of a PNG, which has to be RGB without alpha. */
export async function decode(png: Buffer): Promise<Picture> {
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  if (info.channels !== 3) throw new Error(`${info.channels} channels`);
  return { width: info.width, height: info.height, rgb: data };
}

export function pixel({ width, rgb }: Picture, x: number, y: number): number[] {
  return Array.from(rgb.subarray((y * width + x) * 3, (y * width + x) * 3 + 3));
}

const channels = (color: Color) =>
  [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16));

/** Pixels in a box (right and bottom excluded) close to a colour in each channel, row by row. */
export function find(
  { width, height, rgb }: Picture,
  color: Color,
  {
    left = 0,
    top = 0,
    right = width,
    bottom = height,
    within = 24,
  }: Partial<Box> & { within?: number } = {},
): [number, number][] {
  const [red = 0, green = 0, blue = 0] = channels(color);
  const found: [number, number][] = [];
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const at = (y * width + x) * 3;
      const close =
        Math.abs(rgb[at]! - red) <= within &&
        Math.abs(rgb[at + 1]! - green) <= within &&
        Math.abs(rgb[at + 2]! - blue) <= within;
      if (close) found.push([x, y]);
    }
  }
  return found;
}

/** The mean row of a colour in one column of pixels of a plot; NaN if it isn't there. */
export function rowOf(picture: Picture, color: Color, x: number): number {
  const rows = find(picture, color, { left: x, right: x + 1, top: 81, bottom: 468, within: 48 });
  return rows.reduce((sum, [, y]) => sum + y, 0) / rows.length;
}
