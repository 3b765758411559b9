/** @file How long a run is, and which batches each of its steps trains on. */

import {
  batchCountOfEpoch,
  batchesOfEpoch,
  locateBatch,
  type PlannedBatch,
  type PlanSample,
} from '../data/batch-plan.ts';

export interface PlanSettings {
  readonly seed: number;
  readonly batchSize: number;
  readonly flip: boolean;
  readonly gradientAccumulationSteps: number;
  /** One of the two is given. */
  readonly steps: number | null;
  readonly epochs: number | null;
}

/** A run's steps. */
export interface RunPlan {
  readonly totalSteps: number;
  /** Epochs begun by the last step. */
  readonly epochs: number;
  readonly batchesPerEpoch: number;
  /** The micro-batches of a step, from 0. */
  batchesOf(step: number): PlannedBatch[];
  /** Epochs that are wholly trained when so many steps are done. */
  epochsDone(steps: number): number;
}

/** Plans a run; every step is a function of the arguments alone. */
export function planRun(samples: readonly PlanSample[], settings: PlanSettings): RunPlan {
  const { batchSize, gradientAccumulationSteps: parts } = settings;
  const sizeOfEpoch = (epoch: number) => batchCountOfEpoch(samples, batchSize, epoch);
  const batchesOfEpochs = (epochs: number) => {
    let batches = 0;
    for (let epoch = 0; epoch < epochs; epoch++) batches += sizeOfEpoch(epoch);
    return batches;
  };
  const totalSteps = settings.steps ?? Math.ceil(batchesOfEpochs(settings.epochs!) / parts);
  let known = { epoch: -1, batches: [] as PlannedBatch[] };
  const batchesIn = (epoch: number) => {
    if (known.epoch !== epoch) known = { epoch, batches: batchesOfEpoch(samples, settings, epoch) };
    return known.batches;
  };
  return {
    totalSteps,
    epochs: locateBatch(samples, batchSize, Math.max(0, totalSteps * parts - 1)).epoch + 1,
    batchesPerEpoch: sizeOfEpoch(0),
    batchesOf: (step) =>
      Array.from({ length: parts }, (_, i) => {
        const { epoch, index } = locateBatch(samples, batchSize, step * parts + i);
        return batchesIn(epoch)[index]!;
      }),
    epochsDone: (steps) => locateBatch(samples, batchSize, steps * parts).epoch,
  };
}
