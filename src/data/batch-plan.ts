/** @file Which samples make up each batch of an epoch: a function of the seed and the epoch alone. */

import { Rng } from '../tensor/rng.ts';
import type { Size } from './buckets.ts';

/** What the plan needs to know of a sample. */
export interface PlanSample {
  readonly bucket: Size;
  /** Visits an epoch, 1 or more; prior samples are visited once in a cycle. */
  readonly repeats: number;
  readonly prior: boolean;
}

export interface PlanOptions {
  readonly seed: number;
  readonly batchSize: number;
  /** Mirror half of the visits. */
  readonly flip: boolean;
}

/** One visit of a sample. */
export interface BatchItem {
  /** Index of the sample. */
  readonly sample: number;
  readonly prior: boolean;
  readonly flip: boolean;
  readonly epoch: number;
  /** Of this visit within the epoch, from 0; with `epoch` the key of its random draws. */
  readonly position: number;
}

/** Visits that are trained together; all in one bucket, at most `batchSize` of them. */
export interface PlannedBatch {
  readonly bucket: Size;
  readonly items: readonly BatchItem[];
}

/**
 * Indices of the samples of an epoch, each as often as it is visited. There are as many prior visits
 * as training visits: the prior samples are cycled through, and the next epoch goes on where this
 * one stops, so that all are seen however many there are.
 */
function visitsOfEpoch(samples: readonly PlanSample[], epoch: number): number[] {
  const visits: number[] = [];
  const cycle: number[] = [];
  samples.forEach(({ prior, repeats }, index) => {
    if (!Number.isInteger(repeats) || repeats < 1) throw new Error(`internal: ${repeats} repeats`);
    for (let n = 0; n < repeats; n++) (prior ? cycle : visits).push(index);
  });
  const trained = visits.length;
  if (cycle.length > 0) {
    for (let n = 0; n < trained; n++) visits.push(cycle[(epoch * trained + n) % cycle.length]!);
  }
  return visits;
}

function groupByBucket(
  samples: readonly PlanSample[],
  visits: readonly number[],
): { readonly bucket: Size; readonly visits: number[] }[] {
  const groups = new Map<string, { bucket: Size; visits: number[] }>();
  for (const index of visits) {
    const { bucket } = samples[index]!;
    const key = `${bucket.width}x${bucket.height}`;
    const group = groups.get(key) ?? { bucket, visits: [] };
    group.visits.push(index);
    groups.set(key, group);
  }
  return [...groups.values()];
}

/**
 * The batches of an epoch in their order, both shuffled; the last batch of a bucket may be smaller.
 * The same arguments give the same batches, so that a run can go on at any step.
 */
export function batchesOfEpoch(
  samples: readonly PlanSample[],
  { seed, batchSize, flip }: PlanOptions,
  epoch: number,
): PlannedBatch[] {
  const shuffled = new Rng(seed, 'sample-order', epoch).shuffled(visitsOfEpoch(samples, epoch));
  const batches = groupByBucket(samples, shuffled).flatMap(({ bucket, visits }) =>
    Array.from({ length: Math.ceil(visits.length / batchSize) }, (_, n) => ({
      bucket,
      visits: visits.slice(n * batchSize, (n + 1) * batchSize),
    })),
  );
  let position = 0;
  return new Rng(seed, 'batch-order', epoch).shuffled(batches).map(({ bucket, visits }) => ({
    bucket,
    items: visits.map((sample) => {
      const flipped = flip && new Rng(seed, 'flip', epoch, position).uniform() < 0.5;
      return { sample, prior: samples[sample]!.prior, flip: flipped, epoch, position: position++ };
    }),
  }));
}

/**
 * How many batches an epoch has; it may differ by a few between epochs where there are more prior
 * samples than training visits.
 */
export function batchCountOfEpoch(
  samples: readonly PlanSample[],
  batchSize: number,
  epoch: number,
): number {
  return groupByBucket(samples, visitsOfEpoch(samples, epoch)).reduce(
    (sum, { visits }) => sum + Math.ceil(visits.length / batchSize),
    0,
  );
}

/** The epoch of a batch that is counted from the start of the run, and its place in that epoch. */
export function locateBatch(
  samples: readonly PlanSample[],
  batchSize: number,
  batch: number,
): { readonly epoch: number; readonly index: number } {
  let index = batch;
  for (let epoch = 0; ; epoch++) {
    const size = batchCountOfEpoch(samples, batchSize, epoch);
    if (size === 0) throw new Error('internal: an epoch without batches');
    if (index < size) return { epoch, index };
    index -= size;
  }
}
