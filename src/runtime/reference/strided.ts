/** @file Walks over arrays whose elements are not in the order of the shape: broadcasts, slices, transposes. */

import { type Shape, stridesOf } from '../../tensor/shape.ts';

/** Strides that read a value of shape `from` as one of shape `to`: 0 where it is repeated. */
export function broadcastStrides(from: Shape, to: Shape): number[] {
  const lead = to.length - from.length;
  const own = stridesOf(from);
  return to.map((_, i) => (i < lead || from[i - lead] === 1 ? 0 : own[i - lead]!));
}

/**
 * Calls `visit` for each innermost row of `shape` with the row's offsets in two arrays of the given
 * strides, and in a third that is contiguous.
 */
export function forEachRow(
  shape: Shape,
  stridesA: readonly number[],
  stridesB: readonly number[],
  visit: (a: number, b: number, contiguous: number) => void,
): void {
  const outer = shape.slice(0, -1);
  const width = shape.at(-1) ?? 1;
  const rows = outer.reduce((n, d) => n * d, 1);
  const index = new Array<number>(outer.length).fill(0);
  let a = 0;
  let b = 0;
  for (let row = 0; row < rows; row++) {
    visit(a, b, row * width);
    for (let i = outer.length - 1; i >= 0; i--) {
      a += stridesA[i]!;
      b += stridesB[i]!;
      if (++index[i]! < outer[i]!) break;
      a -= outer[i]! * stridesA[i]!;
      b -= outer[i]! * stridesB[i]!;
      index[i] = 0;
    }
  }
}
