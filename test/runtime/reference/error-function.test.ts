/** @file The complementary error function against the C library's. */

import { expect, test } from 'vitest';
import { erfc } from '../../../src/runtime/reference/error-function.ts';

// As Python's math.erfc prints them, which calls the C library.
test.each([
  [0, 1],
  [0.5, 0.4795001221869535],
  [1, 0.15729920705028513],
  [2, 0.004677734981047265],
  [2.5, 4.069520174449589e-4],
  [3, 2.2090496998585438e-5],
  [5, 1.5374597944280351e-12],
  [10, 2.088487583762545e-45],
  [-1, 1.842700792949715],
  [-3, 1.9999779095030015],
])('erfc(%d)', (x, expected) => {
  expect(Math.abs(erfc(x) / expected - 1)).toBeLessThan(1e-13);
});

test('both formulas meet, and the ends are exact', () => {
  expect(Math.abs(erfc(2.5 - 1e-12) / erfc(2.5 + 1e-12) - 1)).toBeLessThan(1e-10);
  expect([erfc(40), erfc(-40)]).toEqual([0, 2]);
  for (let x = -4; x <= 4; x += 0.125) expect(erfc(x) + erfc(-x)).toBeCloseTo(2, 13);
});
