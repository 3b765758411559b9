/** @file An epoch visits each sample its number of times, in an order that depends on the seed alone. */

import { describe, expect, test } from 'vitest';
import {
  batchCountOfEpoch,
  batchesOfEpoch,
  locateBatch,
  type PlanSample,
} from '../../src/data/batch-plan.ts';
import { Rng } from '../../src/tensor/rng.ts';

const square = { width: 512, height: 512 };
const wide = { width: 640, height: 384 };
const sample = (repeats: number, bucket = square, prior = false): PlanSample => ({
  repeats,
  bucket,
  prior,
});
const options = { seed: 1, batchSize: 4, flip: true };

function visits(samples: readonly PlanSample[], epoch = 0): number[] {
  const counts = samples.map(() => 0);
  for (const { items } of batchesOfEpoch(samples, options, epoch)) {
    for (const { sample: index } of items) counts[index] = (counts[index] ?? 0) + 1;
  }
  return counts;
}

test('any data set: each sample its repeats, one bucket a batch, full but for the last of a bucket', () => {
  const rng = new Rng(9, 'data sets');
  for (let run = 0; run < 100; run++) {
    const samples = Array.from({ length: 1 + rng.integer(20) }, () =>
      sample(1 + rng.integer(5), rng.integer(2) ? square : wide),
    );
    const batchSize = 1 + rng.integer(6);
    const epoch = rng.integer(10);
    const batches = batchesOfEpoch(samples, { seed: run, batchSize, flip: false }, epoch);
    const counts = samples.map(() => 0);
    const short = new Map<number, number>();
    for (const { bucket, items } of batches) {
      expect(items.length).toBeGreaterThan(0);
      if (items.length < batchSize) short.set(bucket.width, (short.get(bucket.width) ?? 0) + 1);
      for (const { sample: index, flip } of items) {
        expect(samples[index]?.bucket).toEqual(bucket);
        expect(flip).toBe(false);
        counts[index] = (counts[index] ?? 0) + 1;
      }
    }
    expect(counts).toEqual(samples.map(({ repeats }) => repeats));
    expect([...short.values()].every((n) => n === 1)).toBe(true);
    expect(batches).toHaveLength(batchCountOfEpoch(samples, batchSize, epoch));
  }
});

describe('order', () => {
  const samples = Array.from({ length: 12 }, (_, i) => sample(2, i % 3 ? square : wide));

  test('is the same for the same seed and epoch, and another for others', () => {
    const first = batchesOfEpoch(samples, options, 2);
    expect(batchesOfEpoch(samples, options, 2)).toEqual(first);
    const order = (epoch: number, seed = 1) =>
      batchesOfEpoch(samples, { ...options, seed }, epoch).flatMap(({ items }) =>
        items.map((i) => i.sample),
      );
    expect(order(3)).not.toEqual(order(2));
    expect(order(2, 5)).not.toEqual(order(2));
  });

  test('mixes the buckets', () => {
    const many = Array.from({ length: 80 }, (_, i) => sample(1, i < 40 ? square : wide));
    const widths = batchesOfEpoch(many, options, 0).map(({ bucket }) => bucket.width);
    const changes = widths.filter((width, i) => i > 0 && width !== widths[i - 1]).length;
    expect(changes).toBeGreaterThan(3);
  });

  test('numbers the visits, and flips about half of them', () => {
    const items = batchesOfEpoch([sample(400)], options, 1).flatMap((batch) => batch.items);
    expect(items.map(({ position }) => position)).toEqual(items.map((_, i) => i));
    expect(items.every(({ epoch }) => epoch === 1)).toBe(true);
    const flipped = items.filter(({ flip }) => flip).length;
    expect(flipped).toBeGreaterThan(150);
    expect(flipped).toBeLessThan(250);
  });
});

describe('prior samples', () => {
  test('are as many as the training visits, cycled and marked', () => {
    const samples = [sample(5), sample(1), sample(1, square, true), sample(1, wide, true)];
    expect(visits(samples)).toEqual([5, 1, 3, 3]);
    const items = batchesOfEpoch(samples, options, 0).flatMap((batch) => batch.items);
    expect(items.every(({ sample: index, prior }) => prior === index >= 2)).toBe(true);
  });

  test('are all seen in turn where they are more than the training visits', () => {
    const samples = [sample(2), ...Array.from({ length: 5 }, () => sample(1, square, true))];
    expect(visits(samples, 0)).toEqual([2, 1, 1, 0, 0, 0]);
    expect(visits(samples, 1)).toEqual([2, 0, 0, 1, 1, 0]);
    expect(visits(samples, 2)).toEqual([2, 1, 0, 0, 0, 1]);
  });

  test('share batches with training samples', () => {
    const samples = [sample(20), sample(1, square, true)];
    const mixed = batchesOfEpoch(samples, options, 0).filter(
      ({ items }) => new Set(items.map(({ prior }) => prior)).size === 2,
    );
    expect(mixed.length).toBeGreaterThan(3);
  });
});

test('locateBatch finds the epoch of any step of a run', () => {
  // The number of batches changes with the epoch: the prior samples lie in two buckets.
  const samples = [
    sample(5),
    ...Array.from({ length: 7 }, (_, i) => sample(1, i < 3 ? square : wide, true)),
  ];
  let step = 0;
  const lengths = new Set<number>();
  for (let epoch = 0; epoch < 12; epoch++) {
    const batches = batchesOfEpoch(samples, { ...options, batchSize: 2 }, epoch);
    lengths.add(batches.length);
    for (let index = 0; index < batches.length; index++) {
      expect(locateBatch(samples, 2, step++)).toEqual({ epoch, index });
    }
  }
  expect(lengths.size).toBeGreaterThan(1);
});
