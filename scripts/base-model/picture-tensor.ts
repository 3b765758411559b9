/** @file Drawn pictures as the autoencoder takes them. */

import type { Picture } from '../drawing/canvas.ts';

/**
 * Writes a square window of a picture into `out` at `offset` as [3, side, side] in [-1, 1].
 */
export function writeWindow(
  picture: Picture,
  [left, top]: readonly [number, number],
  side: number,
  out: Float32Array,
  offset: number,
): void {
  for (let c = 0; c < 3; c++) {
    for (let y = 0; y < side; y++) {
      const row = ((top + y) * picture.width + left) * 3 + c;
      const to = offset + (c * side + y) * side;
      for (let x = 0; x < side; x++) out[to + x] = picture.data[row + 3 * x]! / 127.5 - 1;
    }
  }
}
