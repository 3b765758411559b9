/** @file Scaled losses: how the scale moves, and what it does to a step. */

import { expect, test, vi } from 'vitest';
import {
  firstLossScale,
  type LossScale,
  nextLossScale,
  wasScaledTooHigh,
} from '../../src/train/loss-scale.ts';
import { SkippedSteps } from '../../src/train/skipped-steps.ts';
import { batch, makeTrainer, rates } from './tiny-trainer.ts';

// Whole networks in plain loops.
vi.setConfig({ testTimeout: 120_000 });

/** The scale after so many good steps. */
function afterGood(steps: number, from: LossScale): LossScale {
  let scale = from;
  for (let i = 0; i < steps; i++) scale = nextLossScale(scale, true);
  return scale;
}

test('the scale moves as that of torch.amp.GradScaler', () => {
  const first = { scale: 65536, goodSteps: 0 };
  expect(firstLossScale({ precision: 'f16' })).toEqual(first);
  expect(firstLossScale({ precision: 'bf16' })).toBeNull();
  expect(firstLossScale({})).toBeNull();
  const saved = { scale: 8, goodSteps: 3 };
  expect(firstLossScale({ precision: 'f16' }, saved)).toEqual(saved);
  expect(firstLossScale({ precision: 'f32' }, saved)).toBeNull();
  expect(afterGood(1999, first)).toEqual({ scale: 65536, goodSteps: 1999 });
  expect(afterGood(2000, first)).toEqual({ scale: 131072, goodSteps: 0 });
  expect(nextLossScale({ scale: 65536, goodSteps: 1999 }, false)).toEqual({
    scale: 32768,
    goodSteps: 0,
  });
  expect(afterGood(2000, { scale: 2 ** 127, goodSteps: 0 }).scale).toBe(2 ** 127);
});

test('only a step whose loss is finite was scaled too high', () => {
  expect(wasScaledTooHigh({ loss: 0.1, lossScale: 2 })).toBe(true);
  expect(wasScaledTooHigh({ loss: 0.1, lossScale: 1 })).toBe(false);
  expect(wasScaledTooHigh({ loss: Number.NaN, lossScale: 2 })).toBe(false);
  expect(wasScaledTooHigh({ loss: 0.1 })).toBe(false);
});

test('skipped steps are told of once, when a step succeeds', () => {
  const skips = new SkippedSteps();
  const [skipped, good] = [
    { loss: 1, gradNorm: Number.NaN, applied: false },
    { loss: 1, gradNorm: 1, applied: true },
  ];
  expect(skips.add(1, { ...skipped, lossScale: 8 })).toBeNull();
  expect(skips.add(2, { ...skipped, lossScale: 4 })).toBeNull();
  expect(skips.add(3, { ...good, lossScale: 2 })).toMatch(
    /^steps 1 to 2 were skipped, .* scaled by 2 now instead of 8; this is usual/,
  );
  expect(skips.add(4, { ...good, lossScale: 2 })).toBeNull();
  expect(skips.add(5, { ...skipped, lossScale: 2 })).toBeNull();
  expect(skips.add(6, { ...good, lossScale: 1 })).toMatch(/^step 5 was skipped/);
  // Without scaled losses it is another trouble.
  expect([skips.add(7, skipped), skips.add(8, good)]).toEqual([null, null]);
});

test('where nothing is rounded to f16, a scaled step is the same to the last bit', async () => {
  const groups = { unet: true, textEncoder: true };
  const plain = makeTrainer(groups);
  const scaled = makeTrainer(groups, { lossScale: { scale: 1024, goodSteps: 3 } });
  const batches = [batch(0, 1), batch(1)];
  const outcome = await plain.trainer.step(batches, 0, rates);
  expect(await scaled.trainer.step(batches, 0, rates)).toEqual({ ...outcome, lossScale: 1024 });
  expect(scaled.trainer.lossScale).toEqual({ scale: 1024, goodSteps: 4 });
  expect(plain.trainer.lossScale).toBeNull();
  for (const { variable } of plain.layouts) {
    expect(scaled.read(variable)).toEqual(plain.read(variable));
  }
});
