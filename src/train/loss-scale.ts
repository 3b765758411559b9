/**
 * @file Dynamic loss scaling (Micikevicius et al. 2018, arXiv:1710.03740), with the numbers of
 * torch.amp.GradScaler: in f16, gradients below 6e-8 are 0. The loss is multiplied before it is
 * differentiated, and gradients are divided in f32; where one of them leaves f16's range, the step is
 * skipped and the scale lowered.
 */

import type { Executor } from '../runtime/executor.ts';

/** Powers of two change no bit of a value but its exponent. */
const initialScale = 2 ** 16;
const growth = 2;
const backoff = 0.5;
/** Good steps in a row after which a larger scale is tried. */
const growthInterval = 2000;

/** A smaller scale helps no gradient: those that leave f16's range even so are no gradients any more. */
const leastScale = 1;

export interface LossScale {
  readonly scale: number;
  /** Since the scale was changed. */
  readonly goodSteps: number;
}

/**
 * The scale of the first step on this executor; null where its floats need none.
 * @param saved the scale at which an earlier run stopped
 */
export function firstLossScale(
  { precision }: Pick<Executor, 'precision'>,
  saved: LossScale | null = null,
): LossScale | null {
  return precision === 'f16' ? (saved ?? { scale: initialScale, goodSteps: 0 }) : null;
}

/**
 * The scale of the next step.
 * @param finite whether all gradients of this one were
 */
export function nextLossScale({ scale, goodSteps }: LossScale, finite: boolean): LossScale {
  if (!finite) return { scale: scale * backoff, goodSteps: 0 };
  if (goodSteps + 1 < growthInterval) return { scale, goodSteps: goodSteps + 1 };
  // Beyond f32 there is nothing to grow to.
  const grown = Math.fround(scale * growth);
  return { scale: Number.isFinite(grown) ? grown : scale, goodSteps: 0 };
}

/** What is known of a step of which nothing was applied. */
interface Skipped {
  readonly loss: number;
  readonly lossScale?: number;
}

/** Whether a step was skipped only because its scale was too large: a matter of course. */
export function wasScaledTooHigh({ loss, lossScale = leastScale }: Skipped): boolean {
  return lossScale > leastScale && Number.isFinite(loss);
}
