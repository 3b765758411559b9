/** @file Which of the schedule's timesteps a sampler visits (named as in diffusers' `timestep_spacing`). */

import { trainTimesteps } from '../noise-schedule.ts';

/**
 * `leading`: from below, 0 or `offset` the last; `trailing`: from above, 999 the first; `linspace`:
 * from 999 to 0, both ends included.
 */
export type TimestepSpacing = 'leading' | 'trailing' | 'linspace';

export interface TimestepOptions {
  /** Added to `leading`; 1 in Stable Diffusion's own configuration. 0 unless given. */
  readonly offset?: number;
  /** Whether `linspace` may give fractions; `leading` and `trailing` never do. */
  readonly fractional?: boolean;
}

/** To the nearest whole number, halves to the even one. */
function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** `steps` timesteps, noisiest first. */
export function samplerTimesteps(
  spacing: TimestepSpacing,
  steps: number,
  { offset = 0, fractional = false }: TimestepOptions = {},
): number[] {
  const indices = Array.from({ length: steps }, (_, i) => i);
  switch (spacing) {
    case 'leading': {
      const ratio = Math.floor(trainTimesteps / steps);
      return indices.map((i) => Math.min(trainTimesteps - 1, (steps - 1 - i) * ratio + offset));
    }
    case 'trailing': {
      const ratio = trainTimesteps / steps;
      return indices.map((i) => roundHalfEven(trainTimesteps - i * ratio) - 1);
    }
    case 'linspace': {
      const gap = (trainTimesteps - 1) / Math.max(1, steps - 1);
      const round = fractional ? (t: number) => t : roundHalfEven;
      return indices.map((i) => round(steps === 1 ? trainTimesteps - 1 : (steps - 1 - i) * gap));
    }
  }
}
