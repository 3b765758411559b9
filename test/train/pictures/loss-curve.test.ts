/** @file The curves go where their values are, with labels around them. */

import { expect, test } from 'vitest';
import { type LossCurve, renderLossCurve } from '../../../src/train/pictures/loss-curve.ts';
import { decode, find, rowOf } from './pixels.ts';

const loss = '#a9c4e6';
const smoothed = '#1b57a6';
const heldOut = '#d2561c';
const learningRate = '#3f9a5f';
/** The edges of the plot in pixels. */
const [left, right, top, bottom] = [76, 916, 84, 464];

function constant(count: number, change: Partial<LossCurve> = {}): LossCurve {
  const all = (value: number) => Array.from({ length: count }, () => value);
  return {
    title: 'a run',
    steps: all(0).map((_, i) => i + 1),
    losses: all(0.4),
    smoothed: all(0.2),
    learningRates: all(1e-4),
    ...change,
  };
}

const draw = async (curve: LossCurve) => decode(await renderLossCurve(curve));

test('has its size, and the same bytes for the same run', async () => {
  const png = await renderLossCurve(constant(20));
  expect(await decode(png)).toMatchObject({ width: 1000, height: 520 });
  expect(await renderLossCurve(constant(20))).toEqual(png);
  expect(await renderLossCurve(constant(20, { title: 'another' }))).not.toEqual(png);
});

test('lines are at the height of their values, each on its own axis', async () => {
  const picture = await draw(constant(20, { learningRates: Array(20).fill(8e-5) }));
  // The axis of the loss goes to 0.4, that of the learning rate to 8e-5.
  for (const x of [left + 5, 500, right - 5]) {
    expect(rowOf(picture, smoothed, x)).toBeCloseTo((top + bottom) / 2, -0.5);
    expect(Math.abs(rowOf(picture, learningRate, x) - top)).toBeLessThan(2);
  }
});

test('a falling line goes through the middle', async () => {
  const falling = Array.from({ length: 101 }, (_, i) => 1 - i / 100);
  const picture = await draw(
    constant(101, { smoothed: falling, losses: falling, learningRates: Array(101).fill(0) }),
  );
  for (const share of [0.1, 0.25, 0.5, 0.75, 0.9]) {
    const row = rowOf(picture, smoothed, Math.round(left + share * (right - left)));
    expect(Math.abs(row - (top + share * (bottom - top)))).toBeLessThan(1.5);
  }
});

test('held-out losses are dots at their steps', async () => {
  const at = [
    { step: 1, loss: 0.4 },
    { step: 11, loss: 0.1 },
    { step: 16, loss: Number.NaN },
    { step: 21, loss: 0.2 },
  ];
  const picture = await draw(constant(21, { heldOut: at }));
  const near = (x: number, y: number) =>
    find(picture, heldOut, { left: x - 3, right: x + 4, top: y - 3, bottom: y + 4 }).length;
  expect(near((left + right) / 2, bottom - (bottom - top) / 4)).toBeGreaterThan(15);
  expect(near(right - 3, (top + bottom) / 2)).toBeGreaterThan(10);
  expect(find(await draw(constant(21)), heldOut)).toEqual([]);
});

test('values that are not finite are left out', async () => {
  const whole = constant(50);
  const broken = (values: readonly number[]) =>
    values.map((v, i) => [Number.NaN, Number.POSITIVE_INFINITY, v, v, v][i % 5]!);
  const picture = await draw({
    ...whole,
    losses: broken(whole.losses),
    smoothed: broken(whole.smoothed),
  });
  for (const x of [200, 500, right - 5]) {
    expect(rowOf(picture, smoothed, x)).toBeCloseTo((top + bottom) / 2, -0.5);
  }
  const none = await draw({ ...whole, smoothed: Array(50).fill(Number.NaN) });
  expect(find(none, smoothed, { top })).toEqual([]);
});

test('one step is a dot in the middle, none leaves the axes', async () => {
  const one = await draw(constant(1));
  const dot = find(one, smoothed, { top });
  expect(dot.length).toBeGreaterThan(20);
  for (const [x, y] of dot) {
    expect(Math.hypot(x + 0.5 - (left + right) / 2, y + 0.5 - (top + bottom) / 2)).toBeLessThan(6);
  }
  const none = await draw(constant(0));
  expect(find(none, smoothed, { top })).toEqual([]);
  expect(find(none, '#666666', { top: bottom, bottom: bottom + 1 }).length).toBeGreaterThan(800);
});

test('thousands of steps fit, and one wild loss does not flatten the rest', async () => {
  const count = 20_000;
  const losses = Array.from({ length: count }, (_, i) =>
    i === 777 ? 1e4 : 0.3 + 0.1 * Math.sin(i),
  );
  const picture = await draw(constant(count, { losses }));
  expect(find(picture, loss, { top }).length).toBeGreaterThan(20_000);
  // The axis still ends near the usual losses.
  expect(rowOf(picture, smoothed, 500)).toBeCloseTo((top + bottom) / 2, -0.5);
});

test('title, axes and legend are there', async () => {
  const picture = await draw(constant(20));
  const ink = (box: Parameters<typeof find>[2]) => find(picture, '#222222', box).length;
  expect(ink({ left: 20, right: 120, top: 10, bottom: 36 })).toBeGreaterThan(60);
  expect(ink({ left: 70, right: 700, top: 38, bottom: 56 })).toBeGreaterThan(150);
  const labels = (box: Parameters<typeof find>[2], color: `#${string}`) =>
    find(picture, color, box).length;
  expect(labels({ left: 20, right: left - 4, top, bottom }, '#666666')).toBeGreaterThan(40);
  expect(labels({ left, right, top: bottom + 8, bottom: bottom + 26 }, '#666666')).toBeGreaterThan(
    40,
  );
  expect(labels({ left: right + 4, top, bottom }, learningRate)).toBeGreaterThan(40);
  for (const color of [loss, smoothed, learningRate] as const) {
    expect(labels({ top: 40, bottom: 56 }, color)).toBeGreaterThan(15);
  }
  const untitled = await draw(constant(20, { title: '' }));
  expect(find(untitled, '#222222', { top: 0, bottom: 36 })).toEqual([]);
});

test('refuses a series of another length', async () => {
  await expect(renderLossCurve(constant(3, { smoothed: [1] }))).rejects.toThrow(
    'internal: 1 values for a curve of 3 steps',
  );
});
