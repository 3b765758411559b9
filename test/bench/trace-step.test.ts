/** @file What a step launches and holds on a GPU, as docs/benchmarks.md has it: neither may grow unseen. */

import { expect, test } from 'vitest';
import { traceStep } from '../../bench/trace-step.ts';

const MiB = 2 ** 20;

test('a step of SD 1.5 at 512×512', { timeout: 30_000 }, () => {
  const { launches, peakBytes, kernels } = traceStep('sd1', {
    resolution: 512,
    batch: 1,
    rank: 16,
  });
  expect(launches).toBeLessThanOrEqual(2111);
  expect(peakBytes / MiB).toBeLessThan(621);
  // Each adapted layer's change is added where its result lies: 96 by themselves, 16 + 3 joined.
  expect(kernels.get('sum of products in place')).toBeGreaterThanOrEqual(2 * 96 + 16 + 3);
  // Of each resnet and transformer: none moves elements in a reshape.
  expect(kernels.get('copy by reshape')).toBeUndefined();
});
