/**
 * @file One LoRA training step of a model, as the trainer makes it: latents and text are given, as from
 * the caches; then the UNet forward and backward, clipping and AdamW.
 */

import { GraphBuilder } from '../src/graph/graph-builder.ts';
import type { Graph } from '../src/graph/ops.ts';
import { initLora } from '../src/lora/init-lora.ts';
import { type LoraLayout, loraLayout } from '../src/lora/lora-layout.ts';
import { targetModules } from '../src/lora/target-modules.ts';
import { fedText, type NetworkModel, unetFeeds, wholeFrame } from '../src/models/networks.ts';
import type { Executable, Executor, Values } from '../src/runtime/executor.ts';
import { Rng } from '../src/tensor/rng.ts';
import { type Shape, sizeOf } from '../src/tensor/shape.ts';
import { f32, type Tensor } from '../src/tensor/tensor.ts';
import { adamwCorrections, adamwDefaults } from '../src/train/adamw.ts';
import {
  gradientGraph,
  gradientVariable,
  momentVariables,
  optimizerGraph,
  type StepShape,
} from '../src/train/lora-step.ts';
import {
  coefficientTensors,
  stableDiffusionSchedule,
  trainTimesteps,
} from '../src/train/noise-schedule.ts';

export interface StepSizes {
  /** Side of the pictures, in pixels. */
  readonly resolution: number;
  readonly batch: number;
  readonly rank: number;
  readonly checkpointing: boolean;
}

/** Where the time of a step went, in seconds. */
export interface StepTimes {
  /** The host draws noise and timesteps. */
  readonly feeds: number;
  /** Upload, forward, backward, read-back of the loss. */
  readonly gradients: number;
  readonly optimizer: number;
  readonly step: number;
}

const learningRate = 1e-4;
const tokens = 77;
/** As many as the peer has. */
const cachedBatches = 4;
const schedule = stableDiffusionSchedule();

/** Clips as the trainer does: the factor that brings the norm to at most 1. */
const clipFactor = (normSquared: number) => Math.min(1, 1 / (Math.sqrt(normSquared) + 1e-6));
const seconds = () => performance.now() / 1000;

const shapeOf = ({ resolution, batch }: StepSizes): StepShape => ({
  batch,
  height: resolution / 8,
  width: resolution / 8,
  text: { tokens },
});

/** Where the factors of a LoRA on the UNet lie. */
export function unetLayout(model: NetworkModel, rank: number): LoraLayout {
  return loraLayout('unet', targetModules(model, { textEncoder: false }), { rank });
}

/** The graph that the trainer makes for a batch of these sizes. */
export function stepGraph(model: NetworkModel, layout: LoraLayout, sizes: StepSizes): Graph {
  const network = { ...model, predictionType: 'epsilon' } as const;
  return gradientGraph(network, [layout], shapeOf(sizes), {
    clipSkip: 1,
    gradientCheckpointing: sizes.checkpointing,
  });
}

/** The same for all batches, as the peer has it. */
const pooledText = (shape: Shape, seed: number) =>
  f32(shape, new Rng(seed, 'bench-pooled').normals(sizeOf(shape)));

/** What a cache would hold. */
function cachedBatch(model: NetworkModel, sizes: StepSizes, seed: number, index: number): Values {
  const { batch, resolution } = sizes;
  const rng = new Rng(seed, 'bench-cache', index);
  const normals = (shape: Shape) => f32(shape, rng.normals(sizeOf(shape)));
  const text = fedText(new GraphBuilder(), model, { batch, tokens });
  return {
    latents: normals([batch, 4, resolution / 8, resolution / 8]),
    context: normals(text.context.shape),
    ...(text.pooled ? { pooled: pooledText(text.pooled.shape, seed) } : {}),
  };
}

/** Makes one step after the other. */
export class TrainingStep {
  readonly layout: LoraLayout;
  readonly graph: Graph;
  /** Batches of latents and text that steps take in turn. */
  readonly cache: readonly Values[];
  /** Of each step so far. */
  readonly losses: number[] = [];
  readonly #model: NetworkModel;
  readonly #sizes: StepSizes;
  readonly #seed: number;
  readonly #executor: Executor;
  #gradients: Executable | undefined;
  #optimizer: Executable | undefined;

  constructor(executor: Executor, model: NetworkModel, sizes: StepSizes, seed = 0) {
    this.#model = model;
    this.#sizes = sizes;
    this.#seed = seed;
    this.#executor = executor;
    this.layout = unetLayout(model, sizes.rank);
    this.graph = stepGraph(model, this.layout, sizes);
    this.cache = Array.from({ length: cachedBatches }, (_, i) =>
      cachedBatch(model, sizes, seed, i),
    );
  }

  /** Puts the factors' start on the device and compiles both graphs. */
  async build(): Promise<void> {
    const { layout } = this;
    const size = [layout.size];
    this.#executor.writeVariable(layout.variable, f32(size, initLora(layout, this.#seed)));
    for (const name of [gradientVariable(layout), ...momentVariables(layout)]) {
      this.#executor.writeVariable(name, f32(size));
    }
    this.#gradients = await this.#executor.compile(this.graph);
    this.#optimizer = await this.#executor.compile(optimizerGraph([layout], adamwDefaults));
  }

  /** What a step draws, from 0. */
  draws(step: number): { readonly timesteps: readonly number[]; readonly noise: Tensor<'f32'> } {
    const { batch, resolution } = this.#sizes;
    const rng = new Rng(this.#seed, 'bench-step', step);
    const timesteps = Array.from({ length: batch }, () => rng.integer(trainTimesteps));
    const shape = [batch, 4, resolution / 8, resolution / 8];
    return { timesteps, noise: f32(shape, rng.normals(sizeOf(shape))) };
  }

  /** What the gradient graph is fed at a step, from 0. */
  feeds(step: number): Values {
    const { batch, resolution } = this.#sizes;
    const { timesteps, noise } = this.draws(step);
    const frame = wholeFrame({ width: resolution, height: resolution });
    return {
      ...this.cache[step % this.cache.length]!,
      noise,
      weight: f32([batch], new Float32Array(batch).fill(1)),
      ...coefficientTensors(schedule, timesteps),
      ...unetFeeds(this.#model, timesteps, new Array(batch).fill(frame)),
      gradientKeep: f32([], [0]),
      gradientShare: f32([], [1]),
    };
  }

  /** @param number of the step, from 0 */
  async run(number: number): Promise<StepTimes> {
    const began = seconds();
    const feeds = this.feeds(number);
    const fed = seconds();
    const { loss, normSquared } = await this.#gradients!.run(feeds);
    const clip = clipFactor(Number(normSquared!.data[0]));
    const differentiated = seconds();
    await this.#optimizer!.run({
      clip: f32([], [clip]),
      ...adamwCorrections(number + 1),
      [`learningRate.${this.layout.group}`]: f32([], [learningRate]),
    });
    this.losses.push(Number(loss!.data[0]));
    const done = seconds();
    return {
      feeds: fed - began,
      gradients: differentiated - fed,
      optimizer: done - differentiated,
      step: done - began,
    };
  }
}
