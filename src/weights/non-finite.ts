/** @file Finds values that are no numbers. */

/** Index of the first NaN or infinity, or -1. */
export function findNonFinite(values: Float32Array): number {
  // A sum is finite only if every term is, and is faster to look at than each of millions.
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! * 0;
  return sum === 0 ? -1 : values.findIndex((value) => !Number.isFinite(value));
}
