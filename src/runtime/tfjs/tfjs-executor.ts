/**
 * @file The executor on TensorFlow.js, in f32: libtensorflow where `tfjs-node-gpu` is installed, tfjs's own
 * wasm else. Its tensors are freed by hand: after their last use, and all that is left with the graph or
 * the executor.
 */

import type { Graph } from '../../graph/ops.ts';
import { runPasses } from '../../graph/passes/run-passes.ts';
import type { ComputeDType } from '../../tensor/dtype.ts';
import { type Shape, sameShape, sizeOf } from '../../tensor/shape.ts';
import { f32, i32, type Tensor } from '../../tensor/tensor.ts';
import type { Executable, Executor, ParameterSource, Values } from '../executor.ts';
import { arrange } from './arrange.ts';
import { type LeafValue, lowerGraph, type ResultValue } from './lower-graph.ts';
import { computeWith, type TfjsBackend, type TfTensor } from './open-tfjs.ts';
import type { LoweringTarget } from './rules/rule.ts';
import { runSteps, type Schedule, scheduleSteps } from './run-steps.ts';
import { checkWasmWeights } from './wasm-memory.ts';

export interface TfjsExecutorOptions {
  readonly parameters: ParameterSource;
  readonly backend: TfjsBackend;
  /** What is fast on the back end, unless given. */
  readonly target?: LoweringTarget;
}

const targets: { readonly [N in TfjsBackend['name']]: LoweringTarget } = {
  tensorflow: { singleProducts: false, gradientKernel: true },
  wasm: { singleProducts: true, gradientKernel: false },
  cpu: { singleProducts: false, gradientKernel: false },
};

/** Tensors by value. */
type Slots = (TfTensor | undefined)[];

interface Compiled {
  readonly inputs: readonly LeafValue[];
  /** Parameters and variables. */
  readonly lasting: readonly LeafValue[];
  readonly schedule: Schedule;
  readonly outputs: readonly ResultValue[];
  readonly updates: readonly ResultValue[];
  /** The constants' tensors. */
  readonly fixed: Slots;
}

class TfjsExecutor implements Executor {
  readonly name = 'tfjs';
  readonly #backend: TfjsBackend;
  readonly #parameters: ParameterSource;
  readonly #target: LoweringTarget;
  /** By arrangement and name. */
  readonly #weights = new Map<string, TfTensor>();
  readonly #variables = new Map<string, TfTensor>();
  readonly #executables = new Set<Executable>();

  constructor({ parameters, backend, target = targets[backend.name] }: TfjsExecutorOptions) {
    this.#backend = backend;
    this.#parameters = parameters;
    this.#target = target;
  }

  async compile(graph: Graph): Promise<Executable> {
    const compiled = this.#compile(graph);
    let state: 'idle' | 'running' | 'disposed' = 'idle';
    const executable: Executable = {
      run: async (feeds) => {
        if (state !== 'idle') throw new Error(`internal: run while ${state}`);
        checkFeeds(compiled.inputs, feeds);
        state = 'running';
        try {
          return await computeWith(this.#backend, () => this.#run(compiled, feeds));
        } finally {
          state = 'idle';
        }
      },
      dispose: async () => {
        if (!this.#executables.delete(executable)) return;
        state = 'disposed';
        for (const tensor of compiled.fixed) tensor?.dispose();
      },
    };
    this.#executables.add(executable);
    return executable;
  }

  writeVariable(name: string, { shape, data }: Tensor<'f32'>): void {
    const value = this.#upload(data, shape);
    this.#variables.get(name)?.dispose();
    this.#variables.set(name, value);
  }

  readVariable(name: string): Tensor<'f32'> {
    const variable = this.#variable(name);
    return f32(variable.shape, (variable.dataSync() as Float32Array).slice());
  }

  async dispose(): Promise<void> {
    for (const executable of [...this.#executables]) await executable.dispose();
    for (const tensor of this.#weights.values()) tensor.dispose();
    for (const tensor of this.#variables.values()) tensor.dispose();
    this.#weights.clear();
    this.#variables.clear();
  }

  #compile(graph: Graph): Compiled {
    const lowered = lowerGraph(runPasses(graph), this.#target);
    const { leaves, constants, steps, outputs, updates, size } = lowered;
    if (this.#backend.name === 'wasm') checkWasmWeights(weightBytes(leaves));
    const inputs = leaves.filter(({ source }) => source === 'input');
    const lasting = leaves.filter(({ source }) => source !== 'input');
    const kept = [...lasting, ...constants, ...outputs, ...updates].map(({ value }) => value.id);
    const fixed: Slots = new Array(size).fill(undefined);
    for (const { value, numbers, shape } of constants) {
      fixed[value.id] = this.#upload(Float32Array.from(numbers), shape);
    }
    const schedule = scheduleSteps(steps, new Set(kept));
    return { inputs, lasting, schedule, outputs, updates, fixed };
  }

  async #run(compiled: Compiled, feeds: Values): Promise<Record<string, Tensor>> {
    const { inputs, lasting, schedule, outputs, updates, fixed } = compiled;
    const slots = [...fixed];
    for (const leaf of lasting) slots[leaf.value.id] = this.#bound(leaf);
    const lent = new Set(slots);
    try {
      for (const { name, value, shape } of inputs) {
        slots[value.id] = this.#upload(feeds[name]!.data as Float32Array, shape);
      }
      await runSteps(this.#backend.tf, schedule, slots);
      const fetched = outputs.map((output) => [output.name, fetch(output, slots)] as const);
      this.#update(updates, slots);
      return Object.fromEntries(fetched);
    } finally {
      for (const tensor of new Set(slots)) if (!lent.has(tensor)) tensor?.dispose();
    }
  }

  /** A tensor of its own: some back ends keep the array that they are given. */
  #upload(data: Float32Array | Int32Array, shape: Shape): TfTensor {
    const engine = this.#backend.tf.engine();
    const type = data instanceof Int32Array ? 'int32' : 'float32';
    const place = engine.findBackend(this.#backend.name);
    return engine.makeTensor(data.slice(), [...shape], type, place);
  }

  #bound(leaf: LeafValue): TfTensor {
    if (leaf.source === 'parameter') return this.#weight(leaf);
    const { name, shape } = leaf;
    const variable = this.#variable(name);
    if (!sameShape(shape, variable.shape)) {
      throw new Error(`internal: variable ${name} is [${variable.shape}], expected [${shape}]`);
    }
    return variable;
  }

  #variable(name: string): TfTensor {
    const variable = this.#variables.get(name);
    if (!variable) throw new Error(`internal: variable ${name} has no value`);
    return variable;
  }

  /** A parameter in one arrangement, which all graphs share; read once. */
  #weight({ name, shape, arrangement }: LeafValue): TfTensor {
    const key = `${arrangement} ${name}`;
    const known = this.#weights.get(key);
    if (known) return known;
    const values = this.#parameters.read(name);
    if (values.length !== sizeOf(shape)) {
      throw new Error(`internal: parameter ${name} has ${values.length} values, not [${shape}]`);
    }
    const { tf } = this.#backend;
    const weight = this.#upload(values, shape);
    const arranged =
      arrangement === 'asIs' ? weight : tf.tidy(() => arrange(tf, weight, arrangement));
    if (arranged !== weight) weight.dispose();
    this.#weights.set(key, arranged);
    return arranged;
  }

  /** Moves variables to their new values, all at once. */
  #update(updates: readonly ResultValue[], slots: Readonly<Slots>): void {
    const { tf } = this.#backend;
    const moves = updates.map(({ name, value }) => [name, tf.clone(slots[value.id]!)] as const);
    for (const [name, value] of moves) {
      this.#variables.get(name)?.dispose();
      this.#variables.set(name, value);
    }
  }
}

function weightBytes(leaves: readonly LeafValue[]): number {
  const weights = leaves.filter(({ source }) => source === 'parameter');
  return weights.reduce((bytes, { shape }) => bytes + 4 * sizeOf(shape), 0);
}

/** A copy for the host. */
function fetch({ value, shape }: ResultValue, slots: Readonly<Slots>): Tensor {
  const data = slots[value.id]!.dataSync().slice();
  return data instanceof Int32Array ? i32(shape, data) : f32(shape, data as Float32Array);
}

const describeTensor = (dtype: ComputeDType | Tensor['dtype'], shape: Shape) =>
  `${dtype}[${shape}]`;

function checkFeeds(inputs: readonly LeafValue[], feeds: Values): void {
  for (const { name, shape, dtype } of inputs) {
    const feed = feeds[name];
    const fits = feed?.dtype === dtype && sameShape(feed.shape, shape);
    if (fits && feed.data.length === sizeOf(shape)) continue;
    const found = feed ? describeTensor(feed.dtype, feed.shape) : 'nothing';
    throw new Error(
      `internal: input ${name} is fed ${found}, expected ${describeTensor(dtype, shape)}`,
    );
  }
}

/** An executor on TensorFlow.js. */
export function createTfjsExecutor(options: TfjsExecutorOptions): Executor {
  return new TfjsExecutor(options);
}
