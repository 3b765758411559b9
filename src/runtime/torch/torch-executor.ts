/**
 * @file The executor on libtorch, PyTorch's own library: for GPUs, and on the processor. Weights and
 * variables live on the device; the factors, their gradients and moments are f32 whatever the compute
 * type is.
 */

import type { Graph } from '../../graph/ops.ts';
import { runPasses } from '../../graph/passes/run-passes.ts';
import { type Shape, sizeOf } from '../../tensor/shape.ts';
import { f32, i32, type Tensor } from '../../tensor/tensor.ts';
import type { Executable, Executor, ParameterSource, Values } from '../executor.ts';
import { CapturedRun } from './captured-run.ts';
import { CudaDriver, type CudaStream } from './cuda-driver.ts';
import { chooseDevice, type TorchDevice } from './device.ts';
import { channelsLastStrides, DeviceMemory, type HostTensor } from './device-memory.ts';
import { findLibtorch, type SearchOptions } from './find-libtorch.ts';
import { FreedMemory } from './freed-memory.ts';
import { type LeafValue, type LoweredGraph, lowerGraph } from './lower-graph.ts';
import { Plan } from './plan.ts';
import type { ComputeType, LoweringTarget } from './rules/rule.ts';
import { loadTorchLibrary, type TorchLibrary } from './torch-library.ts';

/** Which library, device and float type to compute with. */
export interface TorchChoice extends SearchOptions {
  /** `auto`, `cpu`, `cuda`, `cuda:1`, `mps`, `xpu`; the first GPU, else the processor, unless given. */
  readonly device?: string;
  /** Of heavy operations; bf16 on a GPU and f32 on the processor, unless given. */
  readonly compute?: ComputeType;
}

export interface TorchExecutorOptions extends TorchChoice {
  readonly parameters: ParameterSource;
  /** Threads of the processor; one for each core unless given. */
  readonly threads?: number;
  /** Images and kernels with their channels innermost; true unless given. */
  readonly channelsLast?: boolean;
  /** Attention composed of products, as on devices without a kernel of their own. */
  readonly composedAttention?: boolean;
  /**
   * On a CUDA device, graphs that run often are captured and launched as one. False unless given: it
   * has not been run on a GPU yet. The memory of what was captured is only torch's cache, so that
   * nothing else may come near the end of the device's memory.
   */
  readonly cudaGraphs?: boolean;
}

interface Variable {
  readonly handle: number;
  readonly shape: Shape;
}

/** An input's tensor on the device, and where the host writes its values. */
interface Input {
  readonly leaf: LeafValue;
  readonly host: HostTensor;
  readonly handle: number;
}

let loaded: TorchLibrary | undefined;

/** A process has one libtorch. */
function openLibtorch(options: SearchOptions = {}): TorchLibrary {
  loaded ??= loadTorchLibrary(findLibtorch(options));
  return loaded;
}

/** What a choice comes down to on this machine. */
export interface ChosenTorch {
  readonly library: TorchLibrary;
  readonly device: TorchDevice;
  readonly compute: ComputeType;
}

/** @throws UserError where there is no libtorch, or not the device */
export function chooseTorch({ device = 'auto', compute, ...search }: TorchChoice): ChosenTorch {
  const library = openLibtorch(search);
  const chosen = chooseDevice(library, device);
  return { library, device: chosen, compute: compute ?? (chosen.kind === 'cpu' ? 'f32' : 'bf16') };
}

class TorchExecutor implements Executor {
  readonly name = 'torch';
  readonly #library: TorchLibrary;
  readonly #parameters: ParameterSource;
  readonly #device: TorchDevice;
  readonly #target: LoweringTarget;
  readonly #memory: DeviceMemory;
  readonly #freed = new FreedMemory();
  /** Of captured graphs: the driver, and the stream for all that is not captured. */
  readonly #cuda: { readonly driver: CudaDriver; readonly stream: CudaStream } | undefined;
  readonly #weights = new Map<string, number>();
  readonly #variables = new Map<string, Variable>();
  readonly #executables = new Set<Executable>();

  constructor(options: TorchExecutorOptions) {
    const { parameters, threads, channelsLast = true } = options;
    const { library, device, compute } = chooseTorch(options);
    this.#library = library;
    // at::set_num_threads; not part of the C functions, and not found on Windows.
    if (threads !== undefined) this.#library.find('void _ZN2at15set_num_threadsEi(int)')?.(threads);
    this.#parameters = parameters;
    this.#device = device;
    const { kind } = device;
    const own = kind === 'cpu' || kind === 'cuda' ? kind : 'composed';
    this.#target = {
      compute,
      attention: options.composedAttention ? 'composed' : own,
      channelsLast,
      normsTakeChannelsLast: kind === 'cpu',
    };
    this.#memory = new DeviceMemory(library, device);
    if (options.cudaGraphs && kind === 'cuda') {
      const driver = new CudaDriver(library, device.index);
      this.#cuda = { driver, stream: driver.createStream() };
      driver.use(this.#cuda.stream);
    }
  }

  async compile(graph: Graph): Promise<Executable> {
    const lowered = lowerGraph(runPasses(graph), this.#target, this.#library);
    const { leaves, constants, outputs } = lowered;
    const fixed = [...leaves, ...constants].map(({ value }) => value.id);
    const results = outputs.map(({ value }) => value.id);
    const plan = new Plan(this.#library, { ...lowered, fixed, results });
    const owned: number[] = [];
    for (const { value, shape, values } of constants) {
      const handle = this.#memory.upload(values, shape, value.dtype);
      owned.push(handle);
      plan.set(value.id, handle);
    }
    for (const leaf of leaves) {
      if (leaf.source === 'parameter') plan.set(leaf.value.id, this.#weight(leaf));
    }
    const inputs = leaves.filter(({ source }) => source === 'input').map((x) => this.#input(x));
    for (const { leaf, handle, host } of inputs) {
      owned.push(...new Set([handle, host.handle]));
      plan.set(leaf.value.id, handle);
    }
    const { driver, stream } = this.#cuda ?? {};
    const captured = driver && stream ? new CapturedRun(driver, stream, plan) : undefined;
    let state: 'idle' | 'running' | 'disposed' = 'idle';
    const executable: Executable = {
      run: async (feeds) => {
        if (state !== 'idle') throw new Error(`internal: run while ${state}`);
        // What is read back tells that the host's copies were taken.
        this.#feed(inputs, feeds, { wait: outputs.length === 0 });
        for (const leaf of leaves) {
          if (leaf.source === 'variable') plan.set(leaf.value.id, this.#boundVariable(leaf));
        }
        state = 'running';
        try {
          await (captured ?? plan).run();
          return this.#fetch(plan, lowered);
        } finally {
          plan.clear();
          if (!captured?.isCaptured) plan.clearResults();
          captured?.end();
          this.#freed.afterRun();
          state = 'idle';
        }
      },
      dispose: async () => {
        if (!this.#executables.delete(executable)) return;
        state = 'disposed';
        captured?.dispose();
        plan.clearResults();
        for (const handle of owned) this.#memory.free(handle);
        plan.dispose();
      },
    };
    this.#executables.add(executable);
    return executable;
  }

  /** Variables stay where they are: captured graphs know their addresses. */
  writeVariable(name: string, { shape, data }: Tensor<'f32'>): void {
    const handle = this.#memory.upload(data, shape, 'f32');
    const known = this.#variables.get(name);
    if (known && `${known.shape}` === `${shape}`) {
      this.#memory.copy(handle, known.handle);
      this.#memory.free(handle);
      return;
    }
    if (known) this.#memory.free(known.handle);
    this.#variables.set(name, { shape, handle });
  }

  readVariable(name: string): Tensor<'f32'> {
    const { handle, shape } = this.#variable(name);
    return f32(shape, this.#memory.download(handle, shape, 'f32'));
  }

  async dispose(): Promise<void> {
    for (const executable of [...this.#executables]) await executable.dispose();
    for (const handle of this.#weights.values()) this.#memory.free(handle);
    for (const { handle } of this.#variables.values()) this.#memory.free(handle);
    this.#weights.clear();
    this.#variables.clear();
  }

  #fetch(plan: Plan, { outputs }: LoweredGraph): Record<string, Tensor> {
    const fetched = outputs.map(({ name, shape, value }): [string, Tensor] => {
      const type = value.dtype === 'i32' ? 'i32' : 'f32';
      const data = this.#memory.download(plan.get(value.id), shape, type);
      return [name, data instanceof Int32Array ? i32(shape, data) : f32(shape, data)];
    });
    return Object.fromEntries(fetched);
  }

  #variable(name: string): Variable {
    const variable = this.#variables.get(name);
    if (!variable) throw new Error(`internal: variable ${name} has no value`);
    return variable;
  }

  /** The tensor of a variable that a graph reads or writes. */
  #boundVariable({ name, shape, written }: LeafValue): number {
    if (written && !this.#variables.has(name)) {
      this.#variables.set(name, { shape, handle: this.#memory.allocate(shape, 'f32') });
    }
    const variable = this.#variable(name);
    if (`${shape}` !== `${variable.shape}`) {
      throw new Error(`internal: variable ${name} is [${variable.shape}], expected [${shape}]`);
    }
    return variable.handle;
  }

  /** A parameter on the device, which all graphs share; read once. */
  #weight({ name, shape, value: { dtype } }: LeafValue): number {
    const known = this.#weights.get(name);
    if (known !== undefined) return known;
    const isKernel = this.#target.channelsLast && shape.length === 4;
    const strides = isKernel ? channelsLastStrides(shape) : undefined;
    const values = this.#parameters.read(name);
    if (values.length !== sizeOf(shape)) {
      throw new Error(`internal: parameter ${name} has ${values.length} values, not [${shape}]`);
    }
    const handle = this.#memory.upload(values, shape, dtype, strides);
    this.#weights.set(name, handle);
    return handle;
  }

  #input(leaf: LeafValue): Input {
    const { shape, value } = leaf;
    const type = value.dtype === 'i32' ? 'i32' : 'f32';
    const { kind } = this.#device;
    const host = this.#memory.allocateHost(shape, type, kind === 'cuda' ? 'pinned' : 'host');
    const handle = kind === 'cpu' ? host.handle : this.#memory.allocate(shape, type);
    return { leaf, host, handle };
  }

  #feed(inputs: readonly Input[], feeds: Values, { wait }: { readonly wait: boolean }): void {
    for (const { leaf, host, handle } of inputs) {
      const { name, shape, value } = leaf;
      const feed = feeds[name];
      if (!feed || feed.dtype !== value.dtype || feed.data.length !== sizeOf(shape)) {
        const found = feed ? `${feed.dtype}[${feed.shape}]` : 'nothing';
        throw new Error(
          `internal: input ${name} is fed ${found}, expected ${value.dtype}[${shape}]`,
        );
      }
      (host.values as Float32Array).set(feed.data as Float32Array);
      if (handle !== host.handle) this.#memory.copy(host.handle, handle, { wait });
    }
  }
}

/** An executor on libtorch. @throws UserError where there is no libtorch, or not the device */
export function createTorchExecutor(options: TorchExecutorOptions): Executor {
  return new TorchExecutor(options);
}
