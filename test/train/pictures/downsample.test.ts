/** @file A thinned line keeps what its columns of pixels show. */

import { expect, test } from 'vitest';
import { downsample } from '../../../src/train/pictures/downsample.ts';

test('keeps the first, lowest, highest and last of a column, in order', () => {
  const ys = [5, 6, 9, 4, 1, 3, 2];
  const points = ys.map((y, i) => ({ x: 10 + i / 10, y }));
  expect(downsample(points).map(({ y }) => y)).toEqual([5, 9, 1, 2]);
});

test('leaves points in columns of their own', () => {
  const points = [
    { x: 0.2, y: 3 },
    { x: 1, y: 3 },
    { x: 5.9, y: 1 },
  ];
  expect(downsample(points)).toEqual(points);
  expect(downsample([])).toEqual([]);
});

test('many points become at most four a column, with the same extremes', () => {
  const points = Array.from({ length: 50_000 }, (_, i) => ({ x: i / 100, y: Math.sin(i * i) }));
  const kept = downsample(points);
  expect(kept.length).toBeLessThanOrEqual(4 * 500);
  expect(kept.map(({ x }) => x)).toEqual(kept.map(({ x }) => x).toSorted((a, b) => a - b));
  const tenth = (all: typeof points) => all.filter(({ x }) => x >= 10 && x < 11).map(({ y }) => y);
  expect(Math.max(...tenth(kept))).toBe(Math.max(...tenth(points)));
  expect(Math.min(...tenth(kept))).toBe(Math.min(...tenth(points)));
});
