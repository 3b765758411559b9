/** @file Drawing latents from the VAE's moments. */

import { expect, test } from 'vitest';
import { f32 } from '../../src/tensor/tensor.ts';
import { sampleLatents } from '../../src/train/sample-latents.ts';

test('means and variances of each sample are found', () => {
  // Two samples of one channel, 1x2 pixels: two means, then two logarithms of variances.
  const ln4 = Math.log(4);
  const moments = f32([2, 2, 1, 2], [1, 2, 0, ln4, 3, 4, ln4, 0]);
  const { shape, data } = sampleLatents(moments, Float32Array.of(1, -1, 0.5, 2), 10);
  expect(shape).toEqual([2, 1, 1, 2]);
  expect(data).toBeAllClose([20, 0, 40, 60], { atol: 1e-6 });
  expect(sampleLatents(moments, null, 0.5).data).toBeAllClose([0.5, 1, 1.5, 2]);
});

test('absurd variances are clamped', () => {
  const moments = f32([1, 2, 1, 1], [0, 1000]);
  expect(sampleLatents(moments, Float32Array.of(1), 1).data[0]).toBeCloseTo(Math.exp(10), 2);
});
