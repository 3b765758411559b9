/** @file Draws latents from the distribution that the VAE's encoder gives. */

import { f32, type Tensor } from '../tensor/tensor.ts';

/** Bounds of the logarithm of the variance, as in diffusers. */
const minLogVariance = -30;
const maxLogVariance = 20;

/**
 * (mean + σ·ε)·scale, as the UNet takes it.
 *
 * @param moments [n, 2c, h, w]: means, then logarithms of the variances
 * @param noise ε ~ N(0, 1), n·c·h·w values; null gives the means alone
 * @param scale `latentScale`
 * @returns [n, c, h, w]
 */
export function sampleLatents(
  moments: Tensor<'f32'>,
  noise: Float32Array | null,
  scale: number,
): Tensor<'f32'> {
  const [n, both, height, width] = moments.shape as [number, number, number, number];
  const channels = both / 2;
  const size = channels * height * width;
  const out = new Float32Array(n * size);
  if (noise && noise.length !== out.length) {
    throw new Error(`internal: ${noise.length} noise values for ${out.length} latents`);
  }
  for (let i = 0; i < out.length; i++) {
    const at = i + Math.floor(i / size) * size;
    const logVariance = moments.data[at + size]!;
    const clamped = Math.min(maxLogVariance, Math.max(minLogVariance, logVariance));
    const shift = noise ? Math.exp(0.5 * clamped) * noise[i]! : 0;
    out[i] = (moments.data[at]! + shift) * scale;
  }
  return f32([n, channels, height, width], out);
}
