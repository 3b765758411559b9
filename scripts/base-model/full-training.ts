/** @file Trains all weights of a network: AdamW and an average of the weights, in one graph with the loss. */

import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Node } from '../../src/graph/ops.ts';
import type { Executable, Executor, Values } from '../../src/runtime/executor.ts';
import type { Shape } from '../../src/tensor/shape.ts';
import { f32 } from '../../src/tensor/tensor.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import { writeSafetensors } from '../../src/weights/safetensors-writer.ts';
import { FlatWeights } from './flat-weights.ts';

const beta1 = 0.9;
const beta2 = 0.99;
const epsilon = 1e-8;
const weightDecay = 0.01;
const stateNames = ['weights', 'momentum', 'variance', 'average'] as const;

export interface FullTrainingOptions {
  readonly executor: Executor;
  readonly shapes: ReadonlyMap<string, Shape>;
  /** Where the state is kept between runs. */
  readonly statePath: string;
  readonly seed: number;
  /** Share of the old average that stays at each step. */
  readonly averageDecay: number;
  /** Which weights are trained; all unless given. */
  readonly isTrained?: (name: string) => boolean;
  /** Changes the start values. */
  readonly adjustInitial?: (flat: FlatWeights, values: Float32Array) => void;
  readonly buildLoss: (g: GraphBuilder, weights: ReadonlyMap<string, Node>) => Node;
}

/** A network in training. */
export class FullTraining {
  step = 0;
  readonly flat: FlatWeights;
  readonly #options: FullTrainingOptions;
  #executable: Executable | undefined;

  private constructor(options: FullTrainingOptions) {
    this.#options = options;
    this.flat = new FlatWeights(options.shapes);
  }

  /** Starts anew, or goes on from the state of an earlier run. */
  static async start(options: FullTrainingOptions): Promise<FullTraining> {
    const training = new FullTraining(options);
    const { executor, statePath, seed } = options;
    const { length } = training.flat;
    const initial = training.flat.initialValues(seed);
    options.adjustInitial?.(training.flat, initial);
    for (const name of stateNames) {
      const values = name === 'weights' || name === 'average' ? initial : undefined;
      executor.writeVariable(name, f32([length], values));
    }
    if (existsSync(statePath)) {
      const file = await openSafetensors(statePath);
      for (const name of stateNames) {
        executor.writeVariable(name, f32([length], await file.readF32(name)));
      }
      training.step = Number(file.metadata.get('step'));
      await file.close();
    }
    training.#executable = await executor.compile(training.#stepGraph());
    return training;
  }

  /** One step; returns the loss. */
  async run(feeds: Values, learningRate: number): Promise<number> {
    this.step++;
    const scalar = (value: number) => f32([1], [value]);
    const { loss } = await this.#executable!.run({
      ...feeds,
      learningRate: scalar(learningRate),
      correction1: scalar(1 / (1 - beta1 ** this.step)),
      correction2: scalar(1 / (1 - beta2 ** this.step)),
      averageShare: scalar(1 - Math.min(this.#options.averageDecay, this.step / (this.step + 10))),
    });
    const value = Number(loss!.data[0]);
    if (!Number.isFinite(value)) throw new Error(`the loss of step ${this.step} is ${value}`);
    return value;
  }

  /** Puts other values in place of some weights, and forgets what was gathered about their gradients. */
  replace(values: ReadonlyMap<string, Float32Array>): void {
    const { executor } = this.#options;
    for (const variable of stateNames) {
      const vector = executor.readVariable(variable);
      for (const [name, replacement] of values) {
        const part = this.flat.view(vector.data, name);
        if (variable === 'weights' || variable === 'average') part.set(replacement);
        else part.fill(0);
      }
      executor.writeVariable(variable, vector);
    }
  }

  async save(): Promise<void> {
    const { executor, statePath } = this.#options;
    await mkdir(dirname(statePath), { recursive: true });
    const tensors = new Map(stateNames.map((name) => [name, executor.readVariable(name)]));
    await writeSafetensors(statePath, tensors, new Map([['step', String(this.step)]]));
  }

  #stepGraph() {
    const g = new GraphBuilder();
    const { flat } = this;
    const [weights, momentum, variance, average] = stateNames.map((name) =>
      g.variable(name, [flat.length]),
    ) as [Node, Node, Node, Node];
    const nodes = flat.nodes(g, weights);
    const loss = this.#options.buildLoss(g, nodes);
    const gradient = flat.gradient(g, loss, nodes, this.#options.isTrained ?? (() => true));
    const mix = (old: Node, now: Node, keep: number) =>
      g.add(g.scale(old, keep), g.scale(now, 1 - keep));
    const m = mix(momentum, gradient, beta1);
    const v = mix(variance, g.square(gradient), beta2);
    const denominator = g.add(g.sqrt(g.mul(v, g.input('correction2', [1]))), g.constant(epsilon));
    const direction = g.div(g.mul(m, g.input('correction1', [1])), denominator);
    const change = g.add(direction, g.scale(weights, weightDecay));
    const next = g.sub(weights, g.mul(change, g.input('learningRate', [1])));
    const averaged = g.add(average, g.mul(g.sub(next, average), g.input('averageShare', [1])));
    return g.build({ loss }, { weights: next, momentum: m, variance: v, average: averaged });
  }
}

/** Learning rate with a linear warm-up and a cosine decay to a hundredth. */
export function learningRateAt(step: number, steps: number, peak: number, warmup = 50): number {
  if (step < warmup) return (peak * (step + 1)) / warmup;
  const part = Math.min(1, (step - warmup) / (steps - warmup));
  return peak * (0.01 + 0.99 * 0.5 * (1 + Math.cos(Math.PI * part)));
}
