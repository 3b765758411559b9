/** @file Operations that move, repeat or gather elements, and the sums that undo them. */

import { type Shape, stridesOf } from '../../tensor/shape.ts';
import type { Elements, Kernels } from './kernel.ts';
import { broadcastStrides, forEachRow } from './strided.ts';

/** Where an array's elements lie: index i of the shape is at start + Σ i·strides. */
interface View {
  readonly data: Elements;
  readonly start: number;
  readonly strides: readonly number[];
}

const whole = (data: Elements, shape: Shape): View => ({
  data,
  start: 0,
  strides: stridesOf(shape),
});

/** Copies the elements of `shape` from one view to another. */
function copy(shape: Shape, from: View, to: View): void {
  const width = shape.at(-1) ?? 1;
  const stepFrom = from.strides.at(-1) ?? 0;
  const stepTo = to.strides.at(-1) ?? 0;
  forEachRow(shape, from.strides, to.strides, (rowFrom, rowTo) => {
    for (let i = 0; i < width; i++) {
      to.data[to.start + rowTo + i * stepTo] = from.data[from.start + rowFrom + i * stepFrom]!;
    }
  });
}

/** The offset of one element. */
function offsetOf(index: Shape, strides: readonly number[]): number {
  return index.reduce((sum, i, axis) => sum + i * strides[axis]!, 0);
}

/** The source pixel of each target pixel along one side, enlarged from `from` to `to`. */
function sourcePixels(from: number, to: number): Int32Array {
  return Int32Array.from({ length: to }, (_, i) => Math.floor((i * from) / to));
}

/** Calls `visit` with the offsets of each enlarged pixel and of the pixel it repeats. */
function forEachRepeated(
  small: Shape,
  large: Shape,
  visit: (small: number, large: number) => void,
): void {
  const [n, c, height, width] = small as [number, number, number, number];
  const [outHeight, outWidth] = large.slice(2) as [number, number];
  const rows = sourcePixels(height, outHeight);
  const columns = sourcePixels(width, outWidth);
  for (let y = 0; y < n * c * outHeight; y++) {
    const plane = Math.floor(y / outHeight);
    const row = (plane * height + rows[y % outHeight]!) * width;
    for (let x = 0; x < outWidth; x++) visit(row + columns[x]!, y * outWidth + x);
  }
}

/** Rows of a table by number; a number outside the table is an internal error. */
function checkedRow(id: number, rows: number): number {
  if (id < 0 || id >= rows) throw new Error(`internal: row ${id} of a table with ${rows} rows`);
  return id;
}

export const movementKernels: Kernels<
  | 'reshape'
  | 'transpose'
  | 'concat'
  | 'slice'
  | 'pad'
  | 'expand'
  | 'sum'
  | 'upsampleNearest'
  | 'upsampleNearestGrad'
  | 'gather'
  | 'gatherGrad'
  | 'barrier'
> = {
  reshape: (_, [x], out) => out.set(x),
  barrier: (_, [x], out) => out.set(x),
  transpose: ({ shape, inputs: [source], attrs: { perm } }, [x], out) => {
    const strides = stridesOf(source.shape);
    const from = { data: x, start: 0, strides: perm.map((axis) => strides[axis]!) };
    copy(shape, from, whole(out, shape));
  },
  concat: ({ shape, inputs, attrs: { axis } }, values, out) => {
    const strides = stridesOf(shape);
    let start = 0;
    for (const [i, input] of inputs.entries()) {
      copy(input.shape, whole(values[i]!, input.shape), { data: out, start, strides });
      start += input.shape[axis]! * strides[axis]!;
    }
  },
  slice: ({ shape, inputs: [source], attrs: { starts } }, [x], out) => {
    const strides = stridesOf(source.shape);
    copy(shape, { data: x, start: offsetOf(starts, strides), strides }, whole(out, shape));
  },
  pad: ({ shape, inputs: [source], attrs: { before } }, [x], out) => {
    const strides = stridesOf(shape);
    const to = { data: out, start: offsetOf(before, strides), strides };
    copy(source.shape, whole(x, source.shape), to);
  },
  expand: ({ shape, inputs: [source] }, [x], out) => {
    const strides = broadcastStrides(source.shape, shape);
    copy(shape, { data: x, start: 0, strides }, whole(out, shape));
  },
  sum: ({ shape, inputs: [source] }, [x], out) => {
    const sums = new Float64Array(out.length);
    const width = source.shape.at(-1) ?? 1;
    const strides = broadcastStrides(shape, source.shape);
    const step = strides.at(-1) ?? 0;
    forEachRow(source.shape, strides, strides, (to, _, from) => {
      for (let i = 0; i < width; i++) sums[to + i * step]! += x[from + i]!;
    });
    out.set(sums);
  },
  upsampleNearest: ({ shape, inputs: [source] }, [x], out) => {
    forEachRepeated(source.shape, shape, (small, large) => {
      out[large] = x[small]!;
    });
  },
  upsampleNearestGrad: ({ shape, inputs: [source] }, [ct], out) => {
    const sums = new Float64Array(out.length);
    forEachRepeated(shape, source.shape, (small, large) => {
      sums[small]! += ct[large]!;
    });
    out.set(sums);
  },
  gather: ({ inputs: [source] }, [table, ids], out) => {
    const rows = source.shape[0]!;
    const width = table.length / rows;
    for (let i = 0; i < ids.length; i++) {
      const start = checkedRow(ids[i]!, rows) * width;
      out.set(table.subarray(start, start + width), i * width);
    }
  },
  gatherGrad: ({ shape, attrs: { rows } }, [ids, ct], out) => {
    const width = shape[1]!;
    const sums = new Float64Array(out.length);
    for (let i = 0; i < ids.length; i++) {
      const start = checkedRow(ids[i]!, rows) * width;
      for (let j = 0; j < width; j++) sums[start + j]! += ct[i * width + j]!;
    }
    out.set(sums);
  },
};
