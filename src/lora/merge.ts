/** @file Adds a LoRA to the weight that it adapts: W' = W + multiplier·(alpha/rank)·up·down. */

import { sizeOf } from '../tensor/shape.ts';
import type { LoraModule } from './lora-modules.ts';

/**
 * The merged weight of a linear layer or a convolution. For a kernel larger than 1x1 the down factor
 * is taken as a matrix [rank, in·kh·kw], which equals running both convolutions.
 *
 * @param weight [out, in] or [out, in, kh, kw], row-major
 * @returns new values of the same shape; sums are in f64
 */
export function mergeLora(
  weight: Float32Array,
  { name, down, up, alpha }: LoraModule,
  multiplier: number,
): Float32Array {
  const rank = down.shape[0]!;
  const out = up.shape[0]!;
  const columns = sizeOf(down.shape) / rank;
  if (up.shape[1] !== rank || weight.length !== out * columns) {
    throw new Error(
      `internal: ${name}: up [${up.shape}] and down [${down.shape}] for a weight of ${weight.length} values`,
    );
  }
  const scale = (multiplier * alpha) / rank;
  const merged = new Float32Array(weight.length);
  const row = new Float64Array(columns);
  for (let o = 0; o < out; o++) {
    row.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = up.data[o * rank + r]!;
      for (let c = 0; c < columns; c++) row[c] = row[c]! + factor * down.data[r * columns + c]!;
    }
    for (let c = 0; c < columns; c++) {
      merged[o * columns + c] = weight[o * columns + c]! + scale * row[c]!;
    }
  }
  return merged;
}
