/** @file A small model in memory, and what trains on it. */

import { loraLayout } from '../../src/lora/lora-layout.ts';
import { type TargetOptions, targetModules } from '../../src/lora/target-modules.ts';
import type { ClipTokenizer } from '../../src/models/clip-tokenizer.ts';
import { createClipTokenizer } from '../../src/models/clip-tokenizer.ts';
import { sd1 } from '../../src/models/sd1/family.ts';
import { sd1TensorShapes } from '../../src/models/sd1/tensor-shapes.ts';
import type { ParameterSource } from '../../src/runtime/executor.ts';
import { createReferenceExecutor } from '../../src/runtime/reference/reference-executor.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { sizeOf } from '../../src/tensor/shape.ts';
import { f32, type Tensor } from '../../src/tensor/tensor.ts';
import type { StepModel } from '../../src/train/lora-step.ts';
import { tinySizes } from '../cli/tiny-run.ts';

const shapes = sd1TensorShapes(tinySizes);

export const tinyModel: StepModel = { family: sd1, shapes, predictionType: 'epsilon' };

const weights = new Map<string, Float32Array>();

function makeWeight(name: string): Float32Array {
  const shape = shapes.get(name)!;
  if (shape.length === 1) return new Float32Array(shape[0]!).fill(name.endsWith('weight') ? 1 : 0);
  const bound = Math.sqrt(3 / sizeOf(shape.slice(1)));
  const rng = new Rng(7, name);
  return Float32Array.from({ length: sizeOf(shape) }, () => (2 * rng.uniform() - 1) * bound);
}

/** Weights of `tinySizes`, each made when it is first read. */
export const tinyParameters: ParameterSource = {
  read: (name) => {
    const weight = weights.get(name) ?? makeWeight(name);
    weights.set(name, weight);
    return weight;
  },
};

/** A reference executor of the small model. */
export const tinyExecutor = () =>
  createReferenceExecutor({ parameters: tinyParameters, precision: 'f32' });

/** Adapters of rank 1 for the groups that are asked for. */
export function tinyLayouts(options: TargetOptions) {
  const modules = targetModules(tinyModel, options);
  return (['unet', 'text_encoder'] as const)
    .map((group) => loraLayout(group, modules, { rank: 1 }))
    .filter(({ size }) => size > 0);
}

let tokenizer: ClipTokenizer | undefined;

export function tinyText() {
  tokenizer ??= createClipTokenizer();
  return { tokenizer, maxTokens: 225, clipSkip: 1 };
}

/** Normal values. */
export function randomTensor(shape: readonly number[], seed: number): Tensor<'f32'> {
  return f32(shape, new Rng(seed, 'test').normals(sizeOf(shape)));
}
