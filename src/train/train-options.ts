/** @file What a run is given, what it tells while it goes on, and what it ends with. */

import type { Config, UnsizedConfig } from '../config/resolve-config.ts';
import type { Executor, MemoryModel, ParameterSource, WeightOptions } from '../runtime/executor.ts';

/** How far a run is. */
export interface TrainProgress {
  readonly phase: 'prepare' | 'cache' | 'text' | 'compile' | 'preview' | 'train' | 'save';
  readonly done: number;
  readonly total: number;
  readonly text?: string;
  readonly loss?: number;
  readonly smoothedLoss?: number;
  readonly learningRate?: number;
  readonly secondsPerStep?: number;
}

/** Of an executor that encodes once and is disposed. */
export const usedOnce: WeightOptions = { flipWeights: false, halfWeights: false };

export interface TrainLoraOptions {
  /** Sizes that it leaves out are those of the base. */
  readonly config: UnsizedConfig;
  /** Makes an executor; the trainer disposes it. */
  readonly createExecutor: (
    parameters: ParameterSource,
    options: WeightOptions,
  ) => Promise<Executor> | Executor;
  /** What is known of the executor's memory. */
  readonly memoryModel: () => Promise<MemoryModel>;
  readonly log: (event: string, fields: Record<string, unknown>) => void;
  readonly onProgress: (progress: TrainProgress) => void;
  /** Asked after each step; true ends the run with its state saved. */
  readonly stop: () => boolean;
  /** Forgets the state of an earlier run. */
  readonly restart: boolean;
}

/** What is known once the base is. */
export type RunOptions = Omit<TrainLoraOptions, 'config'> & { readonly config: Config };

export interface TrainResult {
  /** False where the run was stopped. */
  readonly finished: boolean;
  readonly step: number;
  readonly totalSteps: number;
  /** The finished adapter. */
  readonly adapterPath: string | null;
  readonly statePath: string;
  /** What to tell the user at the end, line by line. */
  readonly summary: readonly string[];
}
