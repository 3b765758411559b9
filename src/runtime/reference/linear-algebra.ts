/** @file Products of matrices. */

import { sizeOf } from '../../tensor/shape.ts';
import type { Elements, Kernels } from './kernel.ts';

/** A matrix inside an array: element (i, j) is at start + i·row + j·column. */
interface Matrix {
  readonly data: Elements;
  readonly start: number;
  readonly row: number;
  readonly column: number;
}

/** out [m, n] = a [m, k]·b [k, n], plus a bias for each column; `out` is contiguous from `start`. */
function multiply(
  a: Matrix,
  b: Matrix,
  [m, k, n]: readonly [number, number, number],
  out: Elements,
  start: number,
  bias?: Elements,
): void {
  const sums = new Float64Array(n);
  const { data: left } = a;
  const { data: right } = b;
  for (let i = 0; i < m; i++) {
    const rowA = a.start + i * a.row;
    if (bias) sums.set(bias);
    else sums.fill(0);
    if (b.column === 1) {
      for (let p = 0; p < k; p++) {
        const factor = left[rowA + p * a.column]!;
        const rowB = b.start + p * b.row;
        for (let j = 0; j < n; j++) sums[j]! += factor * right[rowB + j]!;
      }
    } else {
      for (let j = 0; j < n; j++) {
        const columnB = b.start + j * b.column;
        let sum = 0;
        for (let p = 0; p < k; p++) sum += left[rowA + p * a.column]! * right[columnB + p * b.row]!;
        sums[j]! += sum;
      }
    }
    out.set(sums, start + i * n);
  }
}

/** The matrix [rows, columns], read as its transpose where asked. */
function matrix(
  data: Elements,
  start: number,
  [rows, columns]: readonly [number, number],
  transposed: boolean,
): Matrix {
  return transposed
    ? { data, start, row: 1, column: rows }
    : { data, start, row: columns, column: 1 };
}

export const linearAlgebraKernels: Kernels<'matmul' | 'linear'> = {
  matmul: ({ shape, inputs: [x], attrs: { transposeA, transposeB } }, [a, b], out) => {
    const [m, n] = shape.slice(-2) as [number, number];
    const k = x.shape.at(transposeA ? -2 : -1)!;
    const batch = sizeOf(shape.slice(0, -2));
    for (let i = 0; i < batch; i++) {
      multiply(
        matrix(a, i * m * k, [m, k], transposeA),
        matrix(b, i * k * n, [k, n], transposeB),
        [m, k, n],
        out,
        i * m * n,
      );
    }
  },
  linear: ({ inputs: [, w] }, [x, weight, bias], out) => {
    const [n, k] = w.shape as [number, number];
    const m = out.length / n;
    multiply(matrix(x, 0, [m, k], false), matrix(weight, 0, [k, n], true), [m, k, n], out, 0, bias);
  },
};
