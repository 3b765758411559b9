/** @file Learning-rate schedules at known points. */

import { expect, test } from 'vitest';
import { type LrScheduleKind, lrFactor } from '../../src/train/lr-schedule.ts';

const curve = (kind: LrScheduleKind, steps: readonly number[], restarts?: number) =>
  steps.map((step) =>
    lrFactor(
      { kind, warmupSteps: 10, totalSteps: 110, ...(restarts === undefined ? {} : { restarts }) },
      step,
    ),
  );

test('every kind warms up from 0', () => {
  for (const kind of ['constant', 'linear', 'cosine', 'cosine_with_restarts'] as const) {
    expect(curve(kind, [0, 1, 5, 9, 10])).toBeAllClose([0, 0.1, 0.5, 0.9, 1]);
  }
});

test('constant', () => {
  expect(curve('constant', [10, 60, 109, 110, 500])).toEqual([1, 1, 1, 1, 1]);
});

test('linear falls to 0 and stays there', () => {
  expect(curve('linear', [10, 35, 60, 109, 110, 200])).toBeAllClose([1, 0.75, 0.5, 0.01, 0, 0]);
});

test('cosine', () => {
  expect(curve('cosine', [10, 35, 60, 85, 110])).toBeAllClose([
    1,
    (1 + Math.SQRT1_2) / 2,
    0.5,
    (1 - Math.SQRT1_2) / 2,
    0,
  ]);
});

test('cosine with restarts', () => {
  expect(curve('cosine_with_restarts', [10, 35, 59, 60, 85, 110], 2)).toBeAllClose([
    1,
    0.5,
    (1 + Math.cos(0.98 * Math.PI)) / 2,
    1,
    0.5,
    0,
  ]);
  expect(curve('cosine_with_restarts', [35, 85])).toBeAllClose(curve('cosine', [35, 85]));
});

test('no warm-up, no steps', () => {
  expect(lrFactor({ kind: 'cosine', warmupSteps: 0, totalSteps: 0 }, 0)).toBe(1);
  expect(lrFactor({ kind: 'constant', warmupSteps: 0, totalSteps: 0 }, 0)).toBe(1);
});
