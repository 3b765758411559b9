/** @file The tables of noise schedules and samplers. */

import { timestepEmbedding } from '../../../src/models/timestep-embedding.ts';
import {
  coefficientTensors,
  debiasedWeight,
  minSnrWeight,
  type NoiseSchedule,
  rescaleZeroTerminalSnr,
  snr,
  stableDiffusionSchedule,
  trainTimesteps,
} from '../../../src/train/noise-schedule.ts';
import { karrasSigmas, sigmasAt } from '../../../src/train/samplers/sigmas.ts';
import { samplerTimesteps, type TimestepSpacing } from '../../../src/train/samplers/timesteps.ts';
import type { GoldenFile } from '../golden-file.ts';
import { type Bound, type Numbers, type Report, tolerances, vector } from '../report.ts';

/** f64 tables: what is left after a thousand products. */
const exact: Bound = { relative: 1e-12 };
const equal: Bound = { absolute: 0 };
const output: Bound = { relative: tolerances.output };

/** An f32 β or ᾱ after zero terminal SNR: a few roundings of a number near 1. */
const roundedNearOne: Bound = { absolute: 6e-7 };

/** The angle of the time embedding is rounded to f32: 3e-5 at timestep 999. */
const roundedAngle: Bound = { absolute: 1e-4 };

/** Compares one tensor by its golden name. */
type Compare = (name: string, ours: ArrayLike<number>, bound: Bound) => void;

const all = (value: (timestep: number) => number) =>
  Array.from({ length: trainTimesteps }, (_, timestep) => value(timestep));

function checkTables(compare: Compare) {
  const rounded = stableDiffusionSchedule('f32');
  const precise = stableDiffusionSchedule('f64');
  const rescaled = rescaleZeroTerminalSnr(precise);
  compare('betas_f32', rounded.betas, equal);
  compare('alphas_cumprod_f32', rounded.alphasCumprod, equal);
  compare('betas_f64', precise.betas, exact);
  compare('alphas_cumprod_f64', precise.alphasCumprod, exact);
  const rescaledF32 = rescaleZeroTerminalSnr(rounded);
  compare('ztsnr_betas_f32', rescaledF32.betas, roundedNearOne);
  compare('ztsnr_alphas_cumprod_f32', rescaledF32.alphasCumprod, roundedNearOne);
  compare('ztsnr_betas_f64', rescaled.betas, exact);
  compare('ztsnr_alphas_cumprod_f64', rescaled.alphasCumprod, exact);
  const ratios = (schedule: NoiseSchedule) => all((t) => snr(schedule, t));
  compare('snr_f64', ratios(precise), exact);
  compare('ztsnr_snr_f64', ratios(rescaled), exact);
  for (const gamma of [1, 5, 20]) {
    const weights = (schedule: NoiseSchedule, type: 'epsilon' | 'v_prediction') =>
      all((t) => minSnrWeight(schedule, t, gamma, type));
    compare(`min_snr_weight_eps_gamma${gamma}_f64`, weights(precise, 'epsilon'), exact);
    compare(`min_snr_weight_v_gamma${gamma}_f64`, weights(precise, 'v_prediction'), exact);
    const stretched = `ztsnr_min_snr_weight_v_gamma${gamma}_f64`;
    if (gamma === 5) compare(stretched, weights(rescaled, 'v_prediction'), exact);
  }
}

function checkNoising(report: Report, file: GoldenFile) {
  const timesteps = file.values('add.timesteps');
  const { sqrtAlpha, sqrtOneMinusAlpha } = coefficientTensors(stableDiffusionSchedule(), timesteps);
  const [x0, noise] = [file.f32('add.x0'), file.f32('add.noise')];
  const size = x0.data.length / timesteps.length;
  const mix = (of: (a: number, s: number, i: number) => number): Numbers => ({
    shape: x0.shape,
    data: x0.data.map((_, i) => {
      const sample = Math.floor(i / size);
      return of(sqrtAlpha.data[sample]!, sqrtOneMinusAlpha.data[sample]!, i);
    }),
  });
  const noisy = mix((a, s, i) => a * x0.data[i]! + s * noise.data[i]!);
  const velocity = mix((a, s, i) => a * noise.data[i]! - s * x0.data[i]!);
  report.compare('add.noisy', noisy, file.f32('add.noisy'), output);
  report.compare('add.v', velocity, file.f32('add.v'), output);
}

function checkEmbedding(report: Report, file: GoldenFile) {
  const timesteps = file.values('temb.timesteps');
  for (const channels of file.between('temb.dim', '_torch_f32').map(Number)) {
    const ours = timestepEmbedding(timesteps, channels);
    const name = `temb.dim${channels}`;
    report.compare(`${name}_torch_f32`, ours, file.f32(`${name}_torch_f32`), output);
    const golden = { shape: file.shape(`${name}_f64`), data: file.values(`${name}_f64`) };
    report.compare(`${name}_f64`, ours, golden, roundedAngle);
  }
}

function checkSteps(compare: Compare, file: GoldenFile) {
  const schedule = stableDiffusionSchedule();
  const named = /^(ddim|euler)\.(leading|trailing|linspace|karras)(\d?)\.n(\d+)\.timesteps$/;
  for (const name of file.names) {
    const [, sampler, spacing, offset, count] = named.exec(name) ?? [];
    if (!sampler) continue;
    const steps = Number(count);
    const base = name.slice(0, -'.timesteps'.length);
    if (spacing === 'karras') {
      const { sigmas, timesteps } = karrasSigmas(schedule, steps);
      compare(name, timesteps, output);
      compare(`${base}.sigmas`, sigmas, output);
      continue;
    }
    const fractional = sampler === 'euler';
    const options = { offset: Number(offset), fractional };
    const timesteps = samplerTimesteps(spacing as TimestepSpacing, steps, options);
    compare(name, timesteps, sampler === 'ddim' ? equal : output);
    if (sampler === 'ddim') continue;
    const sigmas = sigmasAt(schedule, timesteps);
    compare(`${base}.sigmas`, sigmas, output);
    // What the start noise is multiplied by: the samplers that count from below add the picture.
    const first = sigmas[0]!;
    const start = spacing === 'leading' ? Math.sqrt(first ** 2 + 1) : first;
    compare(`${base}.init_noise_sigma`, [start], output);
  }
}

/** Scales of other trainers that follow from the SNR. */
function checkOtherScales(compare: Compare) {
  const schedule = stableDiffusionSchedule('f64');
  const debiased = all((t) => debiasedWeight(schedule, t));
  compare('debiased_weight_f64', debiased, exact);
  // kohya's cap of the SNR.
  const cap = 1000;
  const capped = all((t) => Math.min(snr(schedule, t), cap));
  const velocityLike = capped.map((ratio) => ratio / (ratio + 1));
  compare('v_pred_like_scale_f64', velocityLike, exact);
}

/** Every table of `scheduler.safetensors`. */
export function checkScheduler(report: Report, file: GoldenFile): void {
  const compare: Compare = (name, ours, bound) =>
    report.compare(name, vector(ours), vector(file.values(name)), bound);
  checkTables(compare);
  checkOtherScales(compare);
  checkNoising(report, file);
  checkEmbedding(report, file);
  checkSteps(compare, file);
}
