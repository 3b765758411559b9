/** @file Euler's method along the noise levels, plain or ancestral (Karras et al. 2022, arXiv:2206.00364). */

import type { SampleOptions, StepNoise } from './sampler.ts';
import { eulerLevels, type SigmaInterpolation } from './sigmas.ts';

export interface EulerOptions extends SampleOptions {
  /** `log` unless given: the noise levels of web UIs. */
  readonly interpolation?: SigmaInterpolation;
}

export interface EulerAncestralOptions extends EulerOptions {
  /** Fresh noise of each step; the last step asks for none. */
  readonly stepNoise: StepNoise;
}

/** Latents without noise by Euler's method, "Euler" in web UIs. */
export function sampleEuler(options: EulerOptions): Promise<Float32Array> {
  return walk(options, (_, to) => ({ down: to, up: 0 }), null);
}

/** Latents without noise by Euler's method with fresh noise at each step, "Euler a" in web UIs. */
export function sampleEulerAncestral(options: EulerAncestralOptions): Promise<Float32Array> {
  return walk(options, ancestralStep, options.stepNoise);
}

/** How far down a step goes, and how much fresh noise brings it up again: down² + up² = to². */
interface Step {
  readonly down: number;
  readonly up: number;
}

function ancestralStep(from: number, to: number): Step {
  const up = Math.min(to, Math.sqrt((to ** 2 * (from ** 2 - to ** 2)) / from ** 2));
  return { down: Math.sqrt(to ** 2 - up ** 2), up };
}

async function walk(
  {
    schedule,
    steps,
    noise,
    denoise,
    predictionType = 'epsilon',
    interpolation = 'log',
    onStep,
  }: EulerOptions,
  stepOf: (from: number, to: number) => Step,
  stepNoise: StepNoise | null,
): Promise<Float32Array> {
  const { sigmas, timesteps } = eulerLevels(schedule, steps, interpolation);
  let x = noise.map((value) => value * sigmas[0]!);
  for (const [i, t] of timesteps.entries()) {
    const sigma = sigmas[i]!;
    const scale = 1 / Math.sqrt(sigma ** 2 + 1);
    const { down, up } = stepOf(sigma, sigmas[i + 1]!);
    const scaled = x.map((value) => value * scale);
    const prediction = await denoise(scaled, t);
    const fresh = up > 0 ? stepNoise?.(i) : undefined;
    x = x.map((value, k) => {
      const p = prediction[k]!;
      // The slope (x - x₀)/σ is ε; from v it is σ·x/(σ² + 1) + v/√(σ² + 1).
      const slope = predictionType === 'epsilon' ? p : scale * (sigma * scale * value + p);
      return value + slope * (down - sigma) + (fresh ? fresh[k]! * up : 0);
    });
    onStep?.(i, x);
  }
  return x;
}
