/** @file The clock of trials, beside a device that is only a wait. */

import { expect, test } from 'vitest';
import { timeOf } from '../../../src/runtime/torch/replay-clock.ts';

/** A device that does what was begun one after the other, so many milliseconds each. */
function device(milliseconds: number) {
  let [begun, waits] = [0, 0];
  let until = 0;
  return {
    begin: () => {
      begun++;
      until = Math.max(until, performance.now()) + milliseconds;
    },
    wait: () => {
      waits++;
      while (performance.now() < until);
    },
    counts: () => [begun, waits] as const,
  };
}

test('short work is begun many times for each wait, long work once', () => {
  const [short, long] = [device(0.02), device(4)];
  const [little, much] = [short, long].map(({ begin, wait }) => timeOf(begin, wait));
  // Never less than it takes; more only where this machine is busy all the time.
  expect(little).toBeGreaterThanOrEqual(0.0199);
  expect(little).toBeLessThan(1);
  expect(much).toBeGreaterThanOrEqual(3.99);
  const [begunShort, waitsShort] = short.counts();
  expect(begunShort / waitsShort).toBeGreaterThan(1);
  const [begunLong, waitsLong] = long.counts();
  expect(begunLong).toBe(waitsLong);
});
