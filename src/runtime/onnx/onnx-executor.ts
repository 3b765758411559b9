/**
 * @file The default executor: graphs run in ONNX Runtime. Weights and variables are fed in place,
 * without a copy, so that all graphs of a run share them.
 */

import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import type { Graph } from '../../graph/ops.ts';
import { runPasses } from '../../graph/passes/run-passes.ts';
import { type Shape, sizeOf } from '../../tensor/shape.ts';
import { f32, type Tensor } from '../../tensor/tensor.ts';
import { UserError } from '../../tensor/user-error.ts';
import type { Executable, Executor, ParameterSource, Values, WeightOptions } from '../executor.ts';
import { outOfMemory } from '../out-of-memory.ts';
import { arrangeKernel, layoutName } from './arrange-kernel.ts';
import { findConvBlock } from './find-conv-block.ts';
import { lowerGraph, type ModelInput, outputPrefix, updatePrefix } from './lower-graph.ts';
import { encodeOnnxModel, type OnnxModel, type OnnxValue } from './onnx-proto.ts';
import { checkProvider } from './providers.ts';

/** `flipWeights` is true unless given: kernels in blocks of channels, and flipped for input gradients. */
export interface OnnxExecutorOptions extends Partial<WeightOptions> {
  readonly parameters: ParameterSource;
  /** ONNX Runtime's execution provider, `cpu` unless given; operations that it lacks run on the CPU. */
  readonly provider?: string;
  /** Threads of one operation; the number of cores where it is not given. */
  readonly threads?: number;
  /** Whether idle threads wait in a loop for their next work; true unless given. */
  readonly spinning?: boolean;
  /** Writes ONNX Runtime's own timing of each operation to files with this prefix. */
  readonly profilePrefix?: string;
}

interface Variable {
  current: Float32Array;
  /** Where the next value is written; the two change places after each run. */
  spare: Float32Array;
  readonly shape: Shape;
}

/** Throws what an error of ONNX Runtime says. */
function explain(error: unknown): never {
  const { message } = error as Error;
  throw outOfMemory(message) ?? new Error(`internal: ONNX Runtime: ${message}`);
}

/** The model with its frozen weights as data of its own, which lies beside it. */
function withWeights(model: OnnxModel, weights: Readonly<Record<string, OrtTensor>>): OnnxModel {
  const isWeight = ({ name }: OnnxValue) => weights[name] !== undefined;
  const beside = model.inputs
    .filter(isWeight)
    .map((value) => ({ ...value, bytes: new Uint8Array(), location: value.name }));
  return {
    ...model,
    initializers: [...model.initializers, ...beside],
    inputs: model.inputs.filter((input) => !isWeight(input)),
  };
}

class OnnxExecutor implements Executor {
  readonly name = 'onnx';
  readonly #options: OnnxExecutorOptions;
  readonly #variables = new Map<string, Variable>();
  readonly #weights = new Map<string, Float32Array>();
  readonly #halfWeights = new Map<string, Uint16Array<ArrayBuffer>>();
  readonly #sessions = new Set<InferenceSession>();

  constructor(options: OnnxExecutorOptions) {
    this.#options = options;
  }

  async compile(graph: Graph): Promise<Executable> {
    const optimized = runPasses(graph);
    const { flipWeights = true, halfWeights = false, provider = 'cpu', parameters } = this.#options;
    const onCpu = provider === 'cpu';
    const convBlock = flipWeights && onCpu ? await findConvBlock() : 1;
    const { model, inputs } = lowerGraph(optimized, {
      flipWeights,
      convBlock,
      fusesProducts: onCpu || provider === 'cuda',
      ...(halfWeights && onCpu && { halfTypeOf: (name: string) => parameters.half?.(name)?.type }),
    });
    const weights = this.#frozenFeeds(inputs);
    const session = await this.#createSession(model, onCpu ? {} : weights);
    this.#sessions.add(session);
    const frozen = onCpu ? weights : {};
    const updates = model.outputs.filter(({ name }) => name.startsWith(updatePrefix));
    const outputs = model.outputs.filter(({ name }) => name.startsWith(outputPrefix));
    return {
      run: async (feeds) => {
        const fed: Record<string, OrtTensor> = { ...frozen, ...this.#liveFeeds(inputs, feeds) };
        const fetches: Record<string, OrtTensor | null> = {};
        for (const { name } of outputs) fetches[name] = null;
        for (const { name, shape } of updates) {
          const { spare } = this.#variable(name.slice(updatePrefix.length));
          fetches[name] = new OrtTensor('float32', spare, [...shape]);
        }
        const results = await session.run(fed, fetches).catch(explain);
        for (const { name } of updates) {
          const variable = this.#variable(name.slice(updatePrefix.length));
          [variable.current, variable.spare] = [variable.spare, variable.current];
        }
        return Object.fromEntries(
          outputs.map(({ name, shape }) => [
            name.slice(outputPrefix.length),
            f32(shape, results[name]!.data as Float32Array),
          ]),
        );
      },
      dispose: async () => {
        if (!this.#sessions.delete(session)) return;
        if (this.#options.profilePrefix !== undefined) session.endProfiling();
        await session.release();
      },
    };
  }

  writeVariable(name: string, value: Tensor<'f32'>): void {
    const known = this.#variables.get(name);
    if (known && known.current.length === value.data.length) {
      known.current.set(value.data);
      return;
    }
    const { shape } = value;
    const spare = new Float32Array(value.data.length);
    this.#variables.set(name, { current: value.data.slice(), spare, shape });
  }

  readVariable(name: string): Tensor<'f32'> {
    const { current, shape } = this.#variable(name);
    return f32(shape, current.slice());
  }

  async dispose(): Promise<void> {
    for (const session of this.#sessions) {
      if (this.#options.profilePrefix !== undefined) session.endProfiling();
      await session.release();
    }
    this.#sessions.clear();
    this.#variables.clear();
    this.#weights.clear();
    this.#halfWeights.clear();
  }

  /** @param weights that go to the device once, beside the model, instead of being fed at each run */
  async #createSession(
    model: OnnxModel,
    weights: Readonly<Record<string, OrtTensor>>,
  ): Promise<InferenceSession> {
    const { provider = 'cpu', threads, spinning = true, profilePrefix } = this.#options;
    const externalData = Object.entries(weights).map(([path, { data }]) => {
      const { buffer, byteOffset, byteLength } = data as Float32Array<ArrayBuffer>;
      return { path, data: new Uint8Array(buffer, byteOffset, byteLength) };
    });
    try {
      return await InferenceSession.create(encodeOnnxModel(withWeights(model, weights)), {
        externalData,
        executionProviders: provider === 'cpu' ? ['cpu'] : [provider, 'cpu'],
        graphOptimizationLevel: 'disabled',
        // A fixed memory pattern allocates a second full block from the second run on.
        enableMemPattern: false,
        ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
        interOpNumThreads: 1,
        extra: { session: { intra_op: { allow_spinning: spinning ? '1' : '0' } } },
        ...(profilePrefix === undefined
          ? {}
          : { enableProfiling: true, profileFilePrefix: profilePrefix }),
        executionMode: 'sequential',
        // What fails is thrown, and not to be printed as well.
        logSeverityLevel: 4,
      });
    } catch (error) {
      if (provider === 'cpu' || outOfMemory((error as Error).message)) explain(error);
      // The place in its sources and the condition come first.
      const reason = (error as Error).message.replace(/^.* was false\.\s*/s, '').trim();
      throw new UserError(
        `device.provider: ${provider} cannot be used on this machine (${reason}); use cpu`,
      );
    }
  }

  #variable(name: string): Variable {
    const variable = this.#variables.get(name);
    if (!variable) throw new Error(`internal: variable ${name} has no value`);
    return variable;
  }

  /** Parameters as they are fed. Each is read once, and kept in the layouts that graphs ask for. */
  #frozenFeeds(inputs: readonly ModelInput[]): Record<string, OrtTensor> {
    const feeds: Record<string, OrtTensor> = {};
    const frozen = inputs.filter(({ source }) => source === 'parameter');
    // All layouts of one parameter in turn, so that its plain values need not be kept for the next.
    frozen.sort((a, b) => (a.key < b.key ? -1 : 1));
    let plain: { readonly key: string; readonly values: Float32Array } | undefined;
    const read = (key: string): Float32Array => {
      const values = this.#weights.get(key);
      if (values) return values;
      if (plain?.key !== key) plain = { key, values: this.#options.parameters.read(key) };
      return plain.values;
    };
    for (const { name, key, shape, kernel, type } of frozen) {
      if (type === 'f16' || type === 'i16') {
        feeds[name] = this.#halfFeed(key, type, shape);
        continue;
      }
      const place = kernel ? `${layoutName(kernel.layout)}:${key}` : key;
      let weight = this.#weights.get(place);
      if (!weight) {
        weight = kernel ? arrangeKernel(read(key), kernel.shape, kernel.layout) : read(key);
        this.#weights.set(place, weight);
      }
      feeds[name] = new OrtTensor('float32', weight, [...shape]);
    }
    return feeds;
  }

  /** A weight's bits as they are stored; bf16 as i16. */
  #halfFeed(key: string, type: 'f16' | 'i16', shape: Shape): OrtTensor {
    let bits = this.#halfWeights.get(key);
    if (!bits) {
      bits = this.#options.parameters.half!(key)!.read();
      this.#halfWeights.set(key, bits);
    }
    return type === 'f16'
      ? new OrtTensor('float16', bits, [...shape])
      : new OrtTensor('int16', new Int16Array(bits.buffer, bits.byteOffset, bits.length), [
          ...shape,
        ]);
  }

  #liveFeeds(inputs: readonly ModelInput[], feeds: Values): Record<string, OrtTensor> {
    const live: Record<string, OrtTensor> = {};
    for (const { name, source, key, shape, type } of inputs) {
      if (source === 'variable') {
        live[name] = new OrtTensor('float32', this.#variable(key).current, [...shape]);
      }
      if (source !== 'input') continue;
      const value = feeds[key];
      if (!value || value.dtype !== type || value.data.length !== sizeOf(shape)) {
        const found = value ? `${value.dtype}[${value.shape}]` : 'nothing';
        throw new Error(`internal: input ${key} is fed ${found}, expected ${type}[${shape}]`);
      }
      live[name] =
        type === 'i32'
          ? new OrtTensor('int32', value.data as Int32Array, [...shape])
          : new OrtTensor('float32', value.data as Float32Array, [...shape]);
    }
    return live;
  }
}

/** An executor on ONNX Runtime. @throws UserError for a provider that is not installed */
export function createOnnxExecutor(options: OnnxExecutorOptions): Executor {
  checkProvider(options.provider ?? 'cpu');
  return new OnnxExecutor(options);
}
