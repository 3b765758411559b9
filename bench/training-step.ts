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
import {
  beginRun,
  type Executable,
  type Executor,
  type PendingRun,
  type Values,
} from '../src/runtime/executor.ts';
import { Rng } from '../src/tensor/rng.ts';
import { type Shape, sizeOf } from '../src/tensor/shape.ts';
import { f32, type Tensor } from '../src/tensor/tensor.ts';
import { adamwDefaults } from '../src/train/adamw.ts';
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
import { guardFeeds, startGuard } from '../src/train/step-guard.ts';

export interface StepSizes {
  /** Side of the pictures, in pixels. */
  readonly resolution: number;
  readonly batch: number;
  readonly rank: number;
  readonly checkpointing: boolean;
}

/** Where the host's time of a step went, in seconds; on a GPU that is not waited for, only `step` says something. */
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

/** Norm to which gradients are clipped, as the trainer's default. */
const maxGradNorm = 1;
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
export function stepGraph(
  model: NetworkModel,
  layout: LoraLayout,
  sizes: StepSizes,
  executor: Pick<Executor, 'joinsLayers' | 'recomputesFreely'> = {},
): Graph {
  const { joinsLayers, recomputesFreely } = executor;
  const network = {
    ...model,
    predictionType: 'epsilon',
    joinsLayers,
    recomputesFreely,
  } as const;
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
  /** Whether steps were begun before the one before them was over. */
  isLate = false;
  /** Begun, and its loss not read. */
  #begun: PendingRun | undefined;

  constructor(executor: Executor, model: NetworkModel, sizes: StepSizes, seed = 0) {
    this.#model = model;
    this.#sizes = sizes;
    this.#seed = seed;
    this.#executor = executor;
    this.layout = unetLayout(model, sizes.rank);
    this.graph = stepGraph(model, this.layout, sizes, executor);
    this.cache = Array.from({ length: cachedBatches }, (_, i) =>
      cachedBatch(model, sizes, seed, i),
    );
  }

  /** Puts the factors' start on the device and compiles both graphs. */
  async build(): Promise<void> {
    const { layout } = this;
    const size = [layout.size];
    startGuard(this.#executor);
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
      lossShare: f32([], [1]),
    };
  }

  /**
   * As the trainer: where the executor computes while the host goes on, a step is begun before the one
   * before it is read.
   *
   * @param number of the step, from 0
   * @param inStep waits for each step before the next one
   */
  async run(number: number, inStep = false): Promise<StepTimes> {
    const began = seconds();
    const feeds = this.feeds(number);
    const fed = seconds();
    const gradients = await beginRun(this.#gradients!, feeds);
    if (inStep) await gradients.read();
    const differentiated = seconds();
    const run = await beginRun(this.#optimizer!, {
      ...guardFeeds(adamwDefaults, maxGradNorm, { updates: number, unsure: false }),
      [`learningRate.${this.layout.group}`]: f32([], [learningRate]),
    });
    await this.settle();
    this.#begun = run;
    this.isLate ||= !(run.isOver || inStep);
    if (run.isOver || inStep) await this.settle();
    const done = seconds();
    return {
      feeds: fed - began,
      gradients: differentiated - fed,
      optimizer: done - differentiated,
      step: done - began,
    };
  }

  /** Waits for the step that was begun. */
  async settle(): Promise<void> {
    const run = this.#begun;
    this.#begun = undefined;
    if (run) this.losses.push(Number((await run.read())['loss']!.data[0]));
  }
}
