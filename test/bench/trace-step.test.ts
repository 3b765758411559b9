/** @file What a step launches and holds on a GPU, as docs/benchmarks.md has it: neither may grow unseen. */

import { expect, test } from 'vitest';
import { traceStep } from '../../bench/trace-step.ts';

const MiB = 2 ** 20;

test('a step of SD 1.5 at 512×512', { timeout: 30_000 }, () => {
  const size = { resolution: 512, batch: 1, rank: 16 };
  const { launches, peakBytes, kernels } = traceStep('sd1', { ...size, plain: true });
  expect(launches).toBeLessThanOrEqual(2128);
  expect(peakBytes / MiB).toBeLessThan(622);
  // Each adapted layer's change is added where its result lies: 96 by themselves, 16 + 3 joined.
  expect(kernels.get('sum of products in place')).toBeGreaterThanOrEqual(2 * 96 + 16 + 3);
  // Of each resnet and transformer: none moves elements in a reshape.
  expect(kernels.get('copy by reshape')).toBeUndefined();
});

test('the same by kernels of our own', { timeout: 30_000 }, () => {
  const size = { resolution: 512, batch: 8, rank: 16 };
  const { launches, peakBytes, movedBytes, kernels } = traceStep('sd1', size);
  expect(launches).toBeLessThanOrEqual(1782);
  expect(peakBytes / MiB).toBeLessThan(4425);
  expect(movedBytes / MiB).toBeLessThan(59_790);
  // Of each transformer block three norms and one GEGLU, none of them computed again by itself.
  expect(kernels.get('layerNorm')).toBe(3 * 16);
  expect(kernels.get('layerNormGrad')).toBe(3 * 16);
  expect(kernels.get('geglu')).toBe(16);
  expect(kernels.get('gegluGrad')).toBe(16);
  // The gradients of all factors: those of 112 layers by themselves and of 16 + 3 joined, in pieces of one vector.
  expect(kernels.get('mm in place')).toBe(2 * 112 + 19);
  expect(kernels.get('copy in place')).toBeLessThanOrEqual(19);
  // Of each resnet two norms, of each transformer one, and the last.
  expect(kernels.get('groupNorm')).toBe(2 * 22 + 16 + 1);
  expect(kernels.get('native_group_norm')).toBeUndefined();
});

test('attention to captions in chunks: two sums more each, and for cuDNN two copies', {
  timeout: 30_000,
}, () => {
  const size = { resolution: 512, batch: 1, rank: 16 };
  const [whole, flash, cudnn] = (
    [{}, { chunks: true }, { chunks: true, attention: 'cudnn' }] as const
  ).map((choice) => traceStep('sd1', { ...size, ...choice }));
  // All but the middle's have at least 256 queries; those of 4096 and 1024 have heads that cuDNN takes.
  expect(flash!.launches - whole!.launches).toBe(2 * 15);
  expect(cudnn!.launches - whole!.launches).toBe(4 * 10);
  expect(flash!.peakBytes).toBe(whole!.peakBytes);
  expect(cudnn!.kernels.get('_scaled_dot_product_cudnn_attention_backward')).toBe(20);
  expect(cudnn!.kernels.get('copy by reshape')).toBeUndefined();
});
