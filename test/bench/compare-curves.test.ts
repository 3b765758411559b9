/** @file Loss curves of the same start. */

import { expect, test } from 'vitest';
import { compareCurves } from '../../bench/compare-curves.ts';

const curve = Array.from({ length: 50 }, (_, i) => 1 + 0.1 * Math.sin(i));

test('a curve agrees with itself, and with its rounding', () => {
  expect(compareCurves(curve, curve, 'f32')).toMatchObject({ steps: 50, mean: 0, agrees: true });
  const rounded = curve.map((loss, i) => loss * (1 + (i % 2 === 0 ? 4e-3 : -4e-3)));
  expect(compareCurves(rounded, curve, 'bf16')).toMatchObject({ agrees: true });
  expect(compareCurves(rounded, curve, 'f32')).toMatchObject({ agrees: false });
});

test('a curve of other noise does not agree', () => {
  const other = curve.map((_, i) => 1 + 0.1 * Math.sin(i + 1));
  const { agrees, mean, largest } = compareCurves(other, curve, 'bf16');
  expect(agrees).toBe(false);
  expect(largest).toBeGreaterThan(mean);
});

test('what only one of the curves has is left out', () => {
  expect(compareCurves(curve, curve.slice(0, 20), 'f32').steps).toBe(20);
});
