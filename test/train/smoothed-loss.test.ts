/** @file The loss that is shown. */

import { expect, test } from 'vitest';
import { SmoothedLoss } from '../../src/train/smoothed-loss.ts';

test('starts at the first loss, and follows slowly', () => {
  const smoothed = new SmoothedLoss();
  expect(smoothed.add(2)).toBe(2);
  expect(smoothed.add(1)).toBeCloseTo(1.97, 12);
  for (let i = 0; i < 500; i++) smoothed.add(1);
  expect(smoothed.value).toBeCloseTo(1, 5);
});

test('losses that are no numbers change nothing; a run that goes on continues the mean', () => {
  const empty = new SmoothedLoss();
  expect(empty.add(Number.NaN)).toBeNaN();
  const whole = new SmoothedLoss([3, Number.NaN, 1, Number.POSITIVE_INFINITY]);
  expect(whole.value).toBeCloseTo(0.97 * 3 + 0.03, 12);
  expect(whole.add(5)).toBe(new SmoothedLoss([3, 1, 5]).value);
});
