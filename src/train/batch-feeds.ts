/** @file What a step's graph is fed: latents, noise, timesteps and their weights, all drawn by key. */

import type { BatchItem, PlannedBatch } from '../data/batch-plan.ts';
import type { Values } from '../runtime/executor.ts';
import { Rng } from '../tensor/rng.ts';
import { f32, type Tensor } from '../tensor/tensor.ts';
import {
  coefficientTensors,
  debiasedWeight,
  minSnrWeight,
  type NoiseSchedule,
  type PredictionType,
} from './noise-schedule.ts';
import { sampleLatents } from './sample-latents.ts';

/** How noise and weights of a sample are drawn. */
export interface NoiseOptions {
  readonly seed: number;
  readonly schedule: NoiseSchedule;
  readonly predictionType: PredictionType;
  /** Timesteps are uniform in [min, max). */
  readonly minTimestep: number;
  readonly maxTimestep: number;
  /** γ of min-SNR; null for equal weights. */
  readonly minSnrGamma: number | null;
  /** Weights of debiased estimation instead. */
  readonly debiasedEstimation: boolean;
  /** Strength of noise that is equal over a whole channel (Guttenberg 2023, "Diffusion with offset noise"). */
  readonly noiseOffset: number;
  /** Weight of prior-preservation samples (Ruiz et al. 2023, arXiv:2208.12242). */
  readonly priorLossWeight: number;
  /** Latents are multiplied by this before the UNet sees them. */
  readonly latentScale: number;
  /** What the UNet is fed beside latents and text: of timesteps, and of the pictures' sizes. */
  readonly conditions: (timesteps: readonly number[], items: readonly BatchItem[]) => Values;
}

const latentChannels = 4;
function drawNoise(
  rng: Rng,
  noiseOffset: number,
  area: number,
  out: Float32Array,
  offset: number,
): void {
  for (let c = 0; c < latentChannels; c++) {
    const shift = noiseOffset > 0 ? noiseOffset * rng.normal() : 0;
    for (let i = 0; i < area; i++) out[offset + c * area + i] = rng.normal() + shift;
  }
}

/** Weight of a timestep in the loss. */
function timestepWeight(
  timestep: number,
  { schedule, predictionType, minSnrGamma, debiasedEstimation }: NoiseOptions,
): number {
  if (debiasedEstimation) return debiasedWeight(schedule, timestep, predictionType);
  if (minSnrGamma !== null) return minSnrWeight(schedule, timestep, minSnrGamma, predictionType);
  return 1;
}

/**
 * The feeds of one batch but for its text. A visit's draws depend on the seed and on the visit
 * alone, so that a run repeats whatever it was interrupted by.
 *
 * @param momentsOf the VAE's moments [8, h, w] of a visit
 */
export function batchFeeds(
  { bucket, items }: PlannedBatch,
  momentsOf: (item: BatchItem) => Tensor<'f32'>,
  options: NoiseOptions,
): Values {
  const { seed, schedule, noiseOffset, latentScale } = options;
  const [height, width] = [bucket.height / 8, bucket.width / 8];
  const size = latentChannels * height * width;
  const latents = new Float32Array(items.length * size);
  const noise = new Float32Array(latents.length);
  const timesteps: number[] = [];
  const weights: number[] = [];
  for (const [i, item] of items.entries()) {
    const draws = (purpose: string) => new Rng(seed, purpose, item.epoch, item.position);
    const moments = momentsOf(item);
    const posterior = draws('posterior').normals(size);
    const sampled = sampleLatents(f32([1, ...moments.shape], moments.data), posterior, latentScale);
    latents.set(sampled.data, i * size);
    drawNoise(draws('noise'), noiseOffset, height * width, noise, i * size);
    const span = options.maxTimestep - options.minTimestep;
    const timestep = options.minTimestep + draws('timestep').integer(span);
    timesteps.push(timestep);
    weights.push(timestepWeight(timestep, options) * (item.prior ? options.priorLossWeight : 1));
  }
  const shape = [items.length, latentChannels, height, width];
  return {
    latents: f32(shape, latents),
    noise: f32(shape, noise),
    weight: f32([items.length], weights),
    ...options.conditions(timesteps, items),
    ...coefficientTensors(schedule, timesteps),
  };
}
