/** @file Steps, epochs and the batches of each step. */

import { expect, test } from 'vitest';
import { batchesOfEpoch } from '../../src/data/batch-plan.ts';
import { planRun } from '../../src/train/run-plan.ts';

const square = { width: 64, height: 64 };
const wide = { width: 96, height: 64 };
// An epoch: 5 visits of squares, 2 of wide ones; in pairs 3 + 1 batches.
const samples = [
  { bucket: square, repeats: 3, prior: false },
  { bucket: square, repeats: 2, prior: false },
  { bucket: wide, repeats: 2, prior: false },
];
const settings = {
  seed: 1,
  batchSize: 2,
  flip: false,
  gradientAccumulationSteps: 1,
  steps: null,
  epochs: null,
};

test('epochs become steps, the last one with what is left', () => {
  expect(planRun(samples, { ...settings, epochs: 3 }).totalSteps).toBe(12);
  const inThrees = planRun(samples, { ...settings, epochs: 2, gradientAccumulationSteps: 3 });
  expect([inThrees.totalSteps, inThrees.batchesPerEpoch]).toEqual([3, 4]);
});

test('steps say how many epochs are begun and done', () => {
  const plan = planRun(samples, { ...settings, steps: 9 });
  expect([plan.totalSteps, plan.epochs]).toEqual([9, 3]);
  expect([0, 3, 4, 7, 8].map((step) => plan.epochsDone(step))).toEqual([0, 0, 1, 1, 2]);
  expect(planRun(samples, { ...settings, steps: 8 }).epochs).toBe(2);
});

test('steps take the batches of the epochs one after the other, from any step', () => {
  const plan = planRun(samples, { ...settings, steps: 4, gradientAccumulationSteps: 3 });
  const all = [0, 1, 2].flatMap((epoch) => batchesOfEpoch(samples, settings, epoch));
  expect([0, 1, 2, 3].flatMap((step) => plan.batchesOf(step))).toEqual(all);
  const later = planRun(samples, { ...settings, steps: 40, gradientAccumulationSteps: 3 });
  expect(later.batchesOf(2)).toEqual(all.slice(6, 9));
});

test('one image in batches larger than the data set is one small batch', () => {
  const one = [{ bucket: square, repeats: 1, prior: false }];
  const plan = planRun(one, { ...settings, batchSize: 8, steps: 2 });
  expect(plan.batchesOf(1).map(({ items }) => items.length)).toEqual([1]);
  expect(plan.epochs).toBe(2);
});
