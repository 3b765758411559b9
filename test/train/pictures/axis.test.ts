/** @file Ticks are round, labels short, and pixels in proportion. */

import { expect, test } from 'vitest';
import { pixelOf, tickLabel, tightAxis, wideAxis } from '../../../src/train/pictures/axis.ts';

const labels = ({ ticks, tickStep }: { ticks: readonly number[]; tickStep: number }) =>
  ticks.map((tick) => tickLabel(tick, tickStep));

test.each([
  [0, 0.47, 6, ['0', '0.1', '0.2', '0.3', '0.4', '0.5']],
  [0, 0.3, 6, ['0', '0.05', '0.10', '0.15', '0.20', '0.25', '0.30']],
  [0, 1e-4, 5, ['0', '2e-5', '4e-5', '6e-5', '8e-5', '1e-4']],
  [0, 7e-5, 5, ['0', '2e-5', '4e-5', '6e-5', '8e-5']],
  [0, 1.2e-4, 5, ['0', '5e-5', '1e-4', '1.5e-4']],
  [0, 0.0012, 5, ['0', '5e-4', '1e-3', '1.5e-3']],
  [0, 1, 5, ['0', '0.2', '0.4', '0.6', '0.8', '1.0']],
  [0, 42, 5, ['0', '10', '20', '30', '40', '50']],
  [0, 3.1e7, 5, ['0', '1e7', '2e7', '3e7', '4e7']],
  [-0.3, 0.4, 5, ['-0.4', '-0.2', '0', '0.2', '0.4']],
  [0, 0, 5, ['0', '0.2', '0.4', '0.6', '0.8', '1.0']],
])('an axis from %s to %s', (min, max, intervals, expected) => {
  const axis = wideAxis(min, max, intervals);
  expect(axis.min).toBeLessThanOrEqual(min);
  expect(axis.max).toBeGreaterThanOrEqual(max);
  expect(axis.max > axis.min).toBe(true);
  // An axis of zeros is as long as one tick.
  expect(labels(axis)).toEqual(max > min ? expected : expected.slice(0, axis.ticks.length));
});

test.each([
  [1, 300, [50, 100, 150, 200, 250, 300]],
  [1, 4, [1, 2, 3, 4]],
  [1, 20_000, [2000, 4000, 6000, 8000, 10_000, 12_000, 14_000, 16_000, 18_000, 20_000]],
  [501, 510, [501, 502, 503, 504, 505, 506, 507, 508, 509, 510]],
  [7, 7, [7]],
])('steps %s to %s', (min, max, ticks) => {
  expect(tightAxis(min, max, 10).ticks).toEqual(ticks);
});

test('one step stands in the middle', () => {
  expect(pixelOf(tightAxis(7, 7, 10), 7, 100, 300)).toBe(200);
});

test('pixels go with the values, also downwards', () => {
  const axis = wideAxis(0, 10, 5);
  expect(pixelOf(axis, 2.5, 100, 500)).toBe(200);
  expect(pixelOf(axis, 2.5, 500, 100)).toBe(400);
});
