/** @file The same schedule by noise level: σ = √((1 - ᾱ)/ᾱ), the noise on a picture of unit scale. */

import type { NoiseSchedule } from '../noise-schedule.ts';
import { samplerTimesteps } from './timesteps.ts';

/**
 * Between whole timesteps: σ itself (`linear`, diffusers) or its logarithm (`log`, k-diffusion and so
 * AUTOMATIC1111's web UI) on a straight line.
 */
export type SigmaInterpolation = 'linear' | 'log';

/** Least ᾱ that a noise level is made of: with zero terminal SNR the last would be infinite. */
const leastAlpha = 5e-8;

/** σ of each timestep of the schedule, rising. */
function sigmaTable({ alphasCumprod }: NoiseSchedule): Float64Array {
  return Float64Array.from(alphasCumprod, (value) => {
    const alpha = Math.max(value, leastAlpha);
    return Math.sqrt((1 - alpha) / alpha);
  });
}

/** The table's value at a fractional index, on a straight line between its neighbours. */
function interpolate(table: Float64Array, index: number): number {
  const low = Math.min(table.length - 1, Math.max(0, Math.floor(index)));
  const high = Math.min(table.length - 1, low + 1);
  const part = Math.min(1, Math.max(0, index - low));
  return table[low]! * (1 - part) + table[high]! * part;
}

/** σ of each of the timesteps, then 0, where sampling ends. */
export function sigmasAt(
  schedule: NoiseSchedule,
  timesteps: readonly number[],
  interpolation: SigmaInterpolation = 'linear',
): number[] {
  const table = sigmaTable(schedule);
  if (interpolation === 'linear') return [...timesteps.map((t) => interpolate(table, t)), 0];
  const logs = table.map(Math.log);
  return [...timesteps.map((t) => Math.exp(interpolate(logs, t))), 0];
}

/** Curvature of Karras' noise levels, as all web UIs have it. */
const karrasRho = 7;

/**
 * Noise levels after Karras et al. 2022 (arXiv:2206.00364, equation 5) and the fractional timesteps
 * that have them.
 */
export function karrasSigmas(
  schedule: NoiseSchedule,
  steps: number,
): { readonly sigmas: number[]; readonly timesteps: number[] } {
  const table = sigmaTable(schedule);
  const highest = table.at(-1)! ** (1 / karrasRho);
  const lowest = table[0]! ** (1 / karrasRho);
  const sigmas = Array.from(
    { length: steps },
    (_, i) => (highest + (i / Math.max(1, steps - 1)) * (lowest - highest)) ** karrasRho,
  );
  const logs = table.map(Math.log);
  return { sigmas: [...sigmas, 0], timesteps: sigmas.map((sigma) => timestepOf(logs, sigma)) };
}

/** The fractional timestep of a noise level, log σ being linear between whole ones. */
function timestepOf(logs: Float64Array, sigma: number): number {
  const log = Math.log(sigma);
  const above = logs.findIndex((value) => value > log);
  const high = above < 0 ? logs.length - 1 : Math.max(1, above);
  const low = high - 1;
  const part = (log - logs[low]!) / (logs[high]! - logs[low]!);
  return low + Math.min(1, Math.max(0, part));
}

/** Timesteps and noise levels of the Euler samplers: evenly spaced, from the noisiest on. */
export function eulerLevels(
  schedule: NoiseSchedule,
  steps: number,
  interpolation: SigmaInterpolation,
): { readonly sigmas: number[]; readonly timesteps: number[] } {
  const timesteps = samplerTimesteps('linspace', steps, { fractional: true });
  return { timesteps, sigmas: sigmasAt(schedule, timesteps, interpolation) };
}
