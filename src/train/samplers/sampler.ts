/** @file What all samplers have in common: what they ask of the network, and classifier-free guidance. */

import type { NoiseSchedule, PredictionType } from '../noise-schedule.ts';

/**
 * The network's prediction for `x` at a timestep, of the same length.
 *
 * @param x latents as the network wants them, with unit variance
 * @param timestep may be fractional
 */
export type Denoise = (x: Float32Array, timestep: number) => Promise<Float32Array>;

/** The predictions with the prompt and without it (or with the negative one). */
export type DenoisePair = (
  x: Float32Array,
  timestep: number,
) => Promise<{ readonly cond: Float32Array; readonly uncond: Float32Array }>;

/** Normal noise for a step, counted from 0, as long as the latents. */
export type StepNoise = (step: number) => Float32Array;

export interface SampleOptions {
  readonly schedule: NoiseSchedule;
  /** Number of steps. */
  readonly steps: number;
  /** Start, N(0, 1): the latents of all pictures of the batch. */
  readonly noise: Float32Array;
  readonly denoise: Denoise;
  /** `epsilon` unless given. */
  readonly predictionType?: PredictionType;
  /** Sees the latents after each step, counted from 0. */
  readonly onStep?: (step: number, latents: Float32Array) => void;
}

/** Classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598): uncond + scale·(cond - uncond). */
export function classifierFreeGuidance(denoise: DenoisePair, scale: number): Denoise {
  return async (x, timestep) => {
    const { cond, uncond } = await denoise(x, timestep);
    return uncond.map((value, i) => value + scale * (cond[i]! - value));
  };
}
