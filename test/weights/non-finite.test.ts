/** @file Values that are no numbers are found. */

import { expect, test } from 'vitest';
import { findNonFinite } from '../../src/weights/non-finite.ts';

test.each([
  [[], -1],
  [[0, -1, 3.4e38, 3.4e38, 1e-45], -1],
  [[0, Number.NaN, Number.NaN], 1],
  [[Number.POSITIVE_INFINITY], 0],
  [[1, 2, Number.NEGATIVE_INFINITY], 2],
  [[Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY], 0],
])('%j: %i', (values, index) => {
  expect(findNonFinite(Float32Array.from(values))).toBe(index);
});
