/** @file The shapes of the batches that a run trains on; each has a graph of its own. */

import { batchesOfEpoch, type PlanSample } from '../data/batch-plan.ts';
import { clipPositions } from '../models/clip-tokenizer.ts';
import type { StepShape } from './lora-step.ts';

/** What shapes depend on beside the samples. */
export interface ShapeOptions {
  readonly batchSize: number;
  /** Most items that go through the network at once. */
  readonly microBatch: number;
  /** How many parts of 75 tokens captions have: each number that occurs. */
  readonly chunks: readonly number[];
  readonly trainsText: boolean;
}

/** Sizes of the parts of a batch of `items`. */
export function partSizes(items: number, microBatch: number): number[] {
  const rest = items % microBatch;
  const whole = new Array<number>(Math.floor(items / microBatch)).fill(microBatch);
  return rest > 0 ? [...whole, rest] : whole;
}

/** Shapes that occur in the first epoch, one of each. */
export function stepShapes(
  samples: readonly PlanSample[],
  { batchSize, microBatch, chunks, trainsText }: ShapeOptions,
): StepShape[] {
  const shapes = new Map<string, StepShape>();
  for (const { bucket, items } of batchesOfEpoch(samples, { seed: 0, batchSize, flip: false }, 0)) {
    for (const batch of partSizes(items.length, microBatch)) {
      for (const n of chunks) {
        const text = trainsText ? { chunks: n } : { tokens: 2 + n * (clipPositions - 2) };
        const shape = { batch, height: bucket.height / 8, width: bucket.width / 8, text };
        shapes.set(JSON.stringify(shape), shape);
      }
    }
  }
  return [...shapes.values()];
}
