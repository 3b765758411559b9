/**
 * @file The noise schedule of Stable Diffusion: how much of a picture and how much noise there is at
 * each timestep, and what follows from it (Ho et al. 2020, arXiv:2006.11239).
 */

import type { Prediction } from '../models/model-family.ts';
import { f32, type Tensor } from '../tensor/tensor.ts';

export type PredictionType = Prediction;

/** Timesteps of every Stable Diffusion model. */
export const trainTimesteps = 1000;

const betaStart = 0.00085;
const betaEnd = 0.012;

/** Both by timestep, 0 (almost no noise) to 999. */
export interface NoiseSchedule {
  /** Variance that the step adds. */
  readonly betas: Float32Array | Float64Array;
  /** ᾱ, the part of the picture's variance that is left. */
  readonly alphasCumprod: Float32Array | Float64Array;
}

/** `f32`: the tables of diffusers, bit for bit, which models were trained with; `f64`: exact. */
export type TablePrecision = 'f32' | 'f64';

/** Numbers per vector instruction of the machine that the published tables come from. */
const lanes = 8;

/**
 * f32 values from start to end. A vector's first value is rounded once, the others are counted on
 * from it, and the upper half is counted down from the end: so does PyTorch's linspace.
 */
function linspaceF32(start: number, end: number, n: number): Float32Array {
  const { fround } = Math;
  const [first, last] = [fround(start), fround(end)];
  const step = fround(fround(last - first) / (n - 1));
  return Float32Array.from({ length: n }, (_, i) => {
    const base = i - (i % lanes);
    const origin = base < n / 2 ? first + step * base : last - step * (n - 1 - base);
    return fround(fround(origin) + fround(step * (i - base)));
  });
}

/** βs whose square roots are evenly spaced, diffusers' `scaled_linear`. */
function scaledLinearBetas(precision: TablePrecision): Float32Array | Float64Array {
  const [start, end] = [Math.sqrt(betaStart), Math.sqrt(betaEnd)];
  if (precision === 'f32') return linspaceF32(start, end, trainTimesteps).map((root) => root ** 2);
  return Float64Array.from(
    { length: trainTimesteps },
    (_, i) => (start + ((end - start) * i) / (trainTimesteps - 1)) ** 2,
  );
}

/** ᾱ of each timestep: the product of 1 - β up to it, rounded as the betas are. */
function cumulativeAlphas<A extends Float32Array | Float64Array>(betas: A): A {
  const alphas = betas.map((beta) => 1 - beta) as A;
  let product = 1;
  return alphas.map((alpha) => {
    product *= alpha;
    return product;
  }) as A;
}

/** The schedule of SD 1.x, 2.x and SDXL. */
export function stableDiffusionSchedule(precision: TablePrecision = 'f32'): NoiseSchedule {
  const betas = scaledLinearBetas(precision);
  return { betas, alphasCumprod: cumulativeAlphas(betas) };
}

/**
 * The schedule stretched so that nothing of the picture is left at the last timestep (Lin et al.
 * 2023, arXiv:2305.08891, algorithm 1). Its last SNR is 0: only for `v_prediction`.
 */
export function rescaleZeroTerminalSnr({ alphasCumprod }: NoiseSchedule): NoiseSchedule {
  const round = alphasCumprod instanceof Float32Array ? Math.fround : (x: number) => x;
  const roots = alphasCumprod.map(Math.sqrt);
  const first = roots[0]!;
  const last = roots.at(-1)!;
  const factor = round(first / round(first - last));
  const stretched = roots.map((root) => round(round(root - last) * factor) ** 2);
  const alphas = stretched.map((alpha, t) => (t === 0 ? alpha : alpha / stretched[t - 1]!));
  const betas = alphas.map((alpha) => 1 - alpha);
  return { betas, alphasCumprod: cumulativeAlphas(betas) };
}

/** Signal-to-noise ratio ᾱ/(1 - ᾱ) at a timestep. */
export function snr({ alphasCumprod }: NoiseSchedule, timestep: number): number {
  const alpha = alphaAt(alphasCumprod, timestep);
  return alpha / (1 - alpha);
}

/**
 * Loss weight of a timestep, min-SNR-γ (Hang et al. 2023, arXiv:2303.09556): min(SNR, γ)/SNR for
 * the noise, min(SNR, γ)/(SNR + 1) for the velocity.
 */
export function minSnrWeight(
  schedule: NoiseSchedule,
  timestep: number,
  gamma: number,
  predictionType: PredictionType = 'epsilon',
): number {
  const ratio = snr(schedule, timestep);
  return Math.min(ratio, gamma) / (predictionType === 'epsilon' ? ratio : ratio + 1);
}

/** SNRs above this count as this much in `debiasedWeight`, as in kohya's trainer: the first would weigh next to nothing. */
const maxDebiasedSnr = 1000;

/**
 * Loss weight of a timestep, debiased estimation (Yu et al. 2023, arXiv:2310.08442): 1/√SNR for the
 * noise; 1/(SNR + 1) for the velocity, as in kohya's trainer.
 */
export function debiasedWeight(
  schedule: NoiseSchedule,
  timestep: number,
  predictionType: PredictionType = 'epsilon',
): number {
  const ratio = Math.min(snr(schedule, timestep), maxDebiasedSnr);
  return predictionType === 'epsilon' ? 1 / Math.sqrt(ratio) : 1 / (ratio + 1);
}

/** √ᾱ and √(1 - ᾱ) at a timestep: the factors of the picture and of the noise. */
export function diffusionCoefficients(
  { alphasCumprod }: NoiseSchedule,
  timestep: number,
): { readonly sqrtAlpha: number; readonly sqrtOneMinusAlpha: number } {
  const alpha = alphaAt(alphasCumprod, timestep);
  return { sqrtAlpha: Math.sqrt(alpha), sqrtOneMinusAlpha: Math.sqrt(1 - alpha) };
}

/** The coefficients of a batch, each [n, 1, 1, 1], as `noisyLatents` and `lossTarget` take them. */
export function coefficientTensors(
  schedule: NoiseSchedule,
  timesteps: readonly number[],
): { readonly sqrtAlpha: Tensor<'f32'>; readonly sqrtOneMinusAlpha: Tensor<'f32'> } {
  const rows = timesteps.map((timestep) => diffusionCoefficients(schedule, timestep));
  const shape = [timesteps.length, 1, 1, 1];
  return {
    sqrtAlpha: f32(
      shape,
      rows.map((row) => row.sqrtAlpha),
    ),
    sqrtOneMinusAlpha: f32(
      shape,
      rows.map((row) => row.sqrtOneMinusAlpha),
    ),
  };
}

function alphaAt(alphasCumprod: ArrayLike<number>, timestep: number): number {
  const alpha = alphasCumprod[timestep];
  if (alpha === undefined) throw new Error(`internal: timestep ${timestep} of a noise schedule`);
  return alpha;
}
