/** @file The sinusoidal embedding of timesteps (diffusers: Timesteps), computed on the host. */

import { f32, type Tensor } from '../tensor/tensor.ts';

const maxPeriod = 10000;
const { fround } = Math;

/** a·b + c, rounded to f32 once. */
const fma = (a: number, b: number, c: number) => fround(a * b + c);

/** ln 2 in two parts, the first with trailing zeros, so that its multiples are exact. */
const [ln2High, ln2Low] = [fround(0.693145751953125), fround(1.428606765330187e-6)];
/** (exp(s) - 1 - s)/s² for small s, highest power first: SLEEF's expf of at most 1 ulp. */
const expCoefficients = [
  0.00019852761761285365, 0.001393043552525346, 0.008333360776305199, 0.04166648536920547,
  0.1666666716337204, 0.5,
];

/**
 * exp(x) of an f32, with the roundings of PyTorch's CPU kernel. They matter: an ulp of a frequency,
 * times a timestep of 999, moves the sine by 6e-5, and references were made with it.
 */
function exp32(x: number): number {
  const power = Math.round(fround(x * fround(Math.LOG2E)));
  const s = fma(-power, ln2Low, fma(-power, ln2High, x));
  const tail = expCoefficients.reduce((sum, c) => fma(sum, s, fround(c)), 0);
  return fround(1 + fma(fround(s * s), tail, s)) * 2 ** power;
}

/**
 * cos, then sin, of each timestep at channels/2 frequencies from 1 to 1/10000. Each step is rounded to
 * f32, as in diffusers.
 *
 * @param timesteps may be fractional, as some samplers want
 * @param channels of the UNet's first block, an even number
 * @returns [n, channels]
 */
export function timestepEmbedding(timesteps: ArrayLike<number>, channels: number): Tensor<'f32'> {
  const half = channels / 2;
  const out = new Float32Array(timesteps.length * channels);
  for (let i = 0; i < half; i++) {
    const frequency = exp32(fround(fround(fround(-Math.log(maxPeriod)) * i) / half));
    for (let n = 0; n < timesteps.length; n++) {
      const angle = fround(fround(timesteps[n]!) * frequency);
      out[n * channels + i] = Math.cos(angle);
      out[n * channels + half + i] = Math.sin(angle);
    }
  }
  return f32([timesteps.length, channels], out);
}
