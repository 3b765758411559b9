/** @file The sinusoidal embedding of timesteps (diffusers: Timesteps), computed on the host. */

import { f32, type Tensor } from '../tensor/tensor.ts';

const maxPeriod = 10000;

/**
 * cos, then sin, of each timestep at channels/2 frequencies from 1 to 1/10000.
 *
 * Each step is rounded to f32, as in diffusers: for large timesteps that moves the sines by 1e-5, and
 * it is what the models were trained with.
 *
 * @param timesteps may be fractional, as some samplers want
 * @param channels of the UNet's first block, an even number
 * @returns [n, channels]
 */
export function timestepEmbedding(timesteps: ArrayLike<number>, channels: number): Tensor<'f32'> {
  const { fround } = Math;
  const half = channels / 2;
  const out = new Float32Array(timesteps.length * channels);
  for (let i = 0; i < half; i++) {
    const exponent = fround(fround(fround(-Math.log(maxPeriod)) * i) / half);
    const frequency = fround(Math.exp(exponent));
    for (let n = 0; n < timesteps.length; n++) {
      const angle = fround(fround(timesteps[n]!) * frequency);
      out[n * channels + i] = Math.cos(angle);
      out[n * channels + half + i] = Math.sin(angle);
    }
  }
  return f32([timesteps.length, channels], out);
}
