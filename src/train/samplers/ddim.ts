/** @file DDIM without noise, η = 0 (Song et al. 2020, arXiv:2010.02502). */

import { trainTimesteps } from '../noise-schedule.ts';
import type { SampleOptions } from './sampler.ts';
import { samplerTimesteps } from './timesteps.ts';

/** Stable Diffusion's own configuration of DDIM counts its timesteps from 1. */
const stepsOffset = 1;

/** Latents without noise, as Stable Diffusion's scheduler configuration has it: after t = 1 comes ᾱ₀. */
export async function sampleDdim({
  schedule: { alphasCumprod },
  steps,
  noise,
  denoise,
  predictionType = 'epsilon',
  onStep,
}: SampleOptions): Promise<Float32Array> {
  const stride = Math.floor(trainTimesteps / steps);
  let x = noise;
  for (const [i, t] of samplerTimesteps('leading', steps, { offset: stepsOffset }).entries()) {
    const alpha = alphasCumprod[t]!;
    const previous = alphasCumprod[Math.max(0, t - stride)]!;
    const [a, s] = [Math.sqrt(alpha), Math.sqrt(1 - alpha)];
    const [a1, s1] = [Math.sqrt(previous), Math.sqrt(1 - previous)];
    const prediction = await denoise(x, t);
    // x = a·x₀ + s·ε with ε given, or v = a·ε - s·x₀; then both are mixed anew.
    x =
      predictionType === 'epsilon'
        ? x.map((xi, k) => (a1 / a) * (xi - s * prediction[k]!) + s1 * prediction[k]!)
        : x.map((xi, k) => {
            const v = prediction[k]!;
            return a1 * (a * xi - s * v) + s1 * (a * v + s * xi);
          });
    onStep?.(i, x);
  }
  return x;
}
