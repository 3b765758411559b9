/**
 * @file Writes what a benchmark's run starts from and is fed, so that a peer can make the same steps. The
 * frozen weights are not in it, but how they are made is.
 */

import { initLora } from '../src/lora/init-lora.ts';
import { createReferenceExecutor } from '../src/runtime/reference/reference-executor.ts';
import { f32, i32, type Tensor } from '../src/tensor/tensor.ts';
import { writeSafetensors } from '../src/weights/safetensors-writer.ts';
import { randomModel } from './bench-model.ts';
import type { BenchCase } from './cases.ts';
import { blockOf, type WeightRecipe, weightRecipe } from './random-weights.ts';
import { TrainingStep } from './training-step.ts';

export interface StartOptions {
  readonly rank: number;
  readonly steps: number;
  readonly seed: number;
}

/** Names of the start file are `block.<bound>`, `down.<path>`, `up.<path>`, `latents.<i>`, `noise.<i>`, … */
export async function writeStart(
  path: string,
  bench: BenchCase,
  { rank, steps, seed }: StartOptions,
): Promise<void> {
  const model = randomModel(bench, seed);
  // Nothing is computed: only draws are asked for.
  const executor = createReferenceExecutor({ parameters: model, precision: 'f32' });
  const training = new TrainingStep(executor, model, { ...bench, rank }, seed);
  const tensors = new Map<string, Tensor>();
  const weights: Record<string, WeightRecipe> = {};
  for (const [name, shape] of model.shapes) {
    if (!name.startsWith('unet.')) continue;
    const recipe = weightRecipe(name, shape, seed);
    weights[name.slice('unet.'.length)] = recipe;
    if ('bound' in recipe) {
      const block = blockOf(recipe.bound);
      tensors.set(`block.${recipe.bound}`, f32([block.length], block));
    }
  }
  const factors = initLora(training.layout, seed);
  for (const { module, down, up } of training.layout.slots) {
    const layer = module.path.slice('unet.'.length);
    for (const [side, slot] of [
      ['down', down],
      ['up', up],
    ] as const) {
      const values = factors.slice(slot.offset, slot.offset + slot.size);
      tensors.set(`${side}.${layer}`, f32(slot.shape, values));
    }
  }
  for (const [i, batch] of training.cache.entries()) {
    for (const [name, value] of Object.entries(batch)) tensors.set(`${name}.${i}`, value);
  }
  for (let step = 0; step < steps; step++) {
    const { noise, timesteps } = training.draws(step);
    tensors.set(`noise.${step}`, noise);
    tensors.set(`timesteps.${step}`, i32([timesteps.length], timesteps));
  }
  const { unet } = bench.sizes;
  const facts = {
    weights,
    batches: training.cache.length,
    steps,
    /** Where the network is none of the published sizes. */
    tiny: bench.tiny ? { ...unet, heads: unet.channels.map(model.family.unetHeads) } : null,
  };
  await writeSafetensors(path, tensors, new Map([['start', JSON.stringify(facts)]]));
}
