/** @file The model that is timed: one with random weights, made as they are asked for, or a file. */

import { families } from '../src/models/families.ts';
import type { NetworkModel } from '../src/models/networks.ts';
import { openCheckpoint } from '../src/models/single-file.ts';
import { modelTensorShapes } from '../src/models/tensor-shapes.ts';
import type { ParameterSource } from '../src/runtime/executor.ts';
import { openSafetensors } from '../src/weights/safetensors-file.ts';
import type { BenchCase } from './cases.ts';
import { randomWeight } from './random-weights.ts';

export type BenchNetwork = NetworkModel & ParameterSource;

/** Random weights of the case's sizes; none is kept here: only the executor holds them. */
export function randomModel({ family, sizes }: BenchCase, seed: number): BenchNetwork {
  const shapes = modelTensorShapes(sizes);
  return {
    family: families[family],
    shapes,
    read: (name) => randomWeight(name, shapes.get(name)!, seed),
  };
}

/** The weights of a checkpoint. */
export async function modelOfFile(path: string): Promise<BenchNetwork> {
  return openCheckpoint(await openSafetensors(path));
}
