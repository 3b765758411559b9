/** @file How far two loss curves from the same start are apart. */

export interface CurveDifference {
  readonly steps: number;
  /** Mean of |a - b| / mean of b. */
  readonly mean: number;
  /** Largest |a - b| / mean of b. */
  readonly largest: number;
  /** Mean of a over mean of b, in the last ten steps. */
  readonly lastRatio: number;
  /** Whether the mean difference is within what the type's rounding makes. */
  readonly agrees: boolean;
}

/**
 * By type of computation: bf16 keeps 8 bits, f16 11, and TF32, which GPUs may use for f32, 11. A loss is a
 * mean over thousands of squared errors, so that rounding cancels in it for the most part.
 */
const tolerances: Readonly<Record<string, number>> = { f32: 1e-3, f16: 4e-3, bf16: 1e-2 };

const meanOf = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

/** @param precision f32, f16 or bf16 */
export function compareCurves(
  ours: readonly number[],
  theirs: readonly number[],
  precision: string,
): CurveDifference {
  const steps = Math.min(ours.length, theirs.length);
  const [a, b] = [ours.slice(0, steps), theirs.slice(0, steps)];
  const level = meanOf(b);
  const differences = a.map((loss, i) => Math.abs(loss - b[i]!) / level);
  const mean = meanOf(differences);
  return {
    steps,
    mean,
    largest: differences.reduce((x, y) => Math.max(x, y), 0),
    lastRatio: meanOf(a.slice(-10)) / meanOf(b.slice(-10)),
    agrees: mean <= (tolerances[precision] ?? 0),
  };
}
