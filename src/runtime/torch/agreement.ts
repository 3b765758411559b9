/** @file Whether two runs of one graph gave the same, within what kernels without a fixed order differ by. */

/**
 * Root of summed squares of the differences, relative to that of the values. Sums of bf16 products in
 * another order differ by some thousandths; memory that was overwritten shows at once.
 */
const tolerance = 0.05;

export type Agreement = 'same' | 'different' | 'not finite';

/** Compares tensors in turn; 'not finite' where the first run's values are not, so that they say nothing. */
export function compareRuns(
  first: readonly ArrayLike<number>[],
  second: readonly ArrayLike<number>[],
): Agreement {
  let agreement: Agreement = 'same';
  for (const [i, values] of first.entries()) {
    const others = second[i]!;
    let [size, distance] = [0, 0];
    for (let j = 0; j < values.length; j++) {
      size += values[j]! ** 2;
      distance += (values[j]! - others[j]!) ** 2;
    }
    if (!Number.isFinite(size)) return 'not finite';
    // Not a number is not below either.
    if (!(distance <= tolerance ** 2 * size)) agreement = 'different';
  }
  return agreement;
}
