/** @file How the learning rate goes over a run; the formulas of diffusers' and transformers' get_scheduler. */

/** The curve after the warm-up. */
export type LrScheduleKind = 'constant' | 'linear' | 'cosine' | 'cosine_with_restarts';

export interface LrSchedule {
  readonly kind: LrScheduleKind;
  /** Steps in which the rate rises from 0. */
  readonly warmupSteps: number;
  /** Steps of the whole run, warm-up included. */
  readonly totalSteps: number;
  /** Cosines of `cosine_with_restarts`; 1 unless given. */
  readonly restarts?: number;
}

/**
 * The factor of the learning rate, 0 to 1.
 * @param step that is about to be taken, from 0
 */
export function lrFactor(
  { kind, warmupSteps, totalSteps, restarts = 1 }: LrSchedule,
  step: number,
): number {
  if (step < warmupSteps) return step / warmupSteps;
  const progress = (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
  switch (kind) {
    case 'constant':
      return 1;
    case 'linear':
      return Math.max(0, 1 - progress);
    case 'cosine':
      return halfCosine(progress);
    case 'cosine_with_restarts':
      return progress >= 1 ? 0 : halfCosine((restarts * progress) % 1);
  }
}

/** 1 at 0, 0 at 1. */
function halfCosine(progress: number): number {
  return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
}
