/**
 * @file The executor on libtorch, PyTorch's own library: for GPUs, and on the processor. Weights and
 * variables live on the device; the factors, their gradients and moments are f32 whatever the compute
 * type is.
 */

import type { Graph } from '../../graph/ops.ts';
import { runPasses } from '../../graph/passes/run-passes.ts';
import { type Shape, sizeOf } from '../../tensor/shape.ts';
import { f32, type Tensor } from '../../tensor/tensor.ts';
import {
  type CompileOptions,
  type Executable,
  type Executor,
  OutOfMemoryError,
  type ParameterSource,
  type PendingRun,
  type Values,
} from '../executor.ts';
import { joinedParameters } from '../joined-parameters.ts';
import { type AttentionFindings, AttentionTrials, cudaChoices } from './attention-trials.ts';
import { CapturedRun, type CapturedRunOptions, type RunState } from './captured-run.ts';
import { isBeforeAmpere } from './compute-capability.ts';
import { findCpp } from './cpp-functions.ts';
import { type CudaSupport, openCuda } from './cuda-support.ts';
import { chooseDevice, type TorchDevice } from './device.ts';
import { channelsLastStrides, DeviceMemory } from './device-memory.ts';
import { findLibtorch, type SearchOptions } from './find-libtorch.ts';
import { FreedMemory } from './freed-memory.ts';
import { directLink, type HostLink, hostType } from './host-link.ts';
import { usefulKernels } from './kernel-trial.ts';
import type { KernelLauncher } from './kernels/kernel.ts';
import { prefersChannelsLast } from './layout-trial.ts';
import { type LeafValue, type LoweredGraph, lowerGraph } from './lower-graph.ts';
import { Plan } from './plan.ts';
import { type ComputeType, type LoweringTarget, ownKernels, unchunked } from './rules/rule.ts';
import { SideRun } from './side-run.ts';
import { stagedLink } from './staged-link.ts';
import { loadTorchLibrary, type TorchLibrary } from './torch-library.ts';

/** Which library, device and float type to compute with. */
export interface TorchChoice extends SearchOptions {
  /** `auto`, `cpu`, `cuda`, `cuda:1`, `mps`, `xpu`; the first GPU, else the processor, unless given. */
  readonly device?: string;
  /**
   * Of heavy operations; f32 on the processor, bf16 on a GPU, f16 on NVIDIA GPUs before Ampere, unless
   * given.
   */
  readonly compute?: ComputeType;
}

export interface TorchExecutorOptions extends TorchChoice {
  readonly parameters: ParameterSource;
  /** Threads of the processor; one for each core unless given. */
  readonly threads?: number;
  /** Images and kernels with their channels innermost; on a GPU, what is faster, else true, unless given. */
  readonly channelsLast?: boolean;
  /** Norms of row-major images beside convolutions with channels innermost, as on GPUs. */
  readonly rowMajorNorms?: boolean;
  /** Attention composed of products, as on devices without a kernel of their own. */
  readonly composedAttention?: boolean;
  /** Runs kernels of our own on the device, all that there are, without a trial. */
  readonly launcher?: KernelLauncher;
  /** On a CUDA device, norms and GEGLU by kernels of our own where they are faster; true unless given. */
  readonly fusedKernels?: boolean;
  /** On a CUDA device, graphs that run often are captured and launched as one; true unless given. */
  readonly cudaGraphs?: boolean;
  /** In captured graphs, gradients of factors are computed beside what follows; true unless given. */
  readonly sideStream?: boolean;
  /** Told, once for each reason, what of a device is not made use of, and why. */
  readonly note?: (text: string) => void;
}

interface Variable {
  readonly handle: number;
  readonly shape: Shape;
}

let loaded: TorchLibrary | undefined;
/** What was faster, by GPU, type and what was asked for: seen once. */
const trials = new Map<string, Pick<LoweringTarget, 'channelsLast' | 'kernels'>>();
/** Of attention by NVIDIA GPU: each size is tried once. */
const attentionFindings = new Map<number, AttentionFindings>();

function findingsOf(index: number): AttentionFindings {
  const known = attentionFindings.get(index) ?? { chosen: new Map(), refused: new Set() };
  attentionFindings.set(index, known);
  return known;
}

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
  return { library, device: chosen, compute: compute ?? usualType(chosen) };
}

const isOld = ({ kind, index }: TorchDevice) => kind === 'cuda' && isBeforeAmpere(index);

function usualType(device: TorchDevice): ComputeType {
  if (device.kind === 'cpu') return 'f32';
  return isOld(device) ? 'f16' : 'bf16';
}

class TorchExecutor implements Executor {
  readonly name = 'torch';
  readonly precision: ComputeType;
  readonly joinsLayers = true;
  readonly recomputesFreely: boolean;
  readonly #library: TorchLibrary;
  readonly #parameters: ParameterSource;
  readonly #device: TorchDevice;
  readonly #target: Omit<LoweringTarget, 'compute'>;
  readonly #memory: DeviceMemory;
  readonly #launcher: KernelLauncher | undefined;
  readonly #cuda: CudaSupport | undefined;
  readonly #hasSideStream: boolean;
  readonly #captured = new Set<CapturedRun>();
  readonly #freed = new FreedMemory();
  readonly #weights = new Map<string, number>();
  readonly #variables = new Map<string, Variable>();
  readonly #executables = new Set<Executable>();

  constructor(options: TorchExecutorOptions) {
    const { parameters, threads, sideStream = true } = options;
    const { library, device, compute } = chooseTorch(options);
    this.#library = library;
    if (threads !== undefined) findCpp(library, 'at::set_num_threads')?.(threads);
    this.precision = compute;
    this.#hasSideStream = sideStream;
    this.#parameters = joinedParameters(parameters);
    this.#device = device;
    const { kind } = device;
    this.#memory = new DeviceMemory(library, device);
    const composed = options.composedAttention || !(kind === 'cpu' || kind === 'cuda');
    if (kind === 'cuda') {
      const { cudaGraphs = true, fusedKernels = true, note = () => undefined } = options;
      this.#cuda = openCuda({ library, device, compute, cudaGraphs, fusedKernels, note });
    }
    this.#launcher = options.launcher ?? this.#cuda?.launcher;
    const target = {
      ...this.#layout(options, compute),
      normsTakeChannelsLast: kind === 'cpu' && !options.rowMajorNorms,
      addsProducts: library.productSums(kind) !== undefined,
    };
    const { kernels } = target;
    this.recomputesFreely = Boolean(kernels?.has('geglu') && kernels.has('layerNorm'));
    const attentionTrials = new AttentionTrials({
      library,
      memory: this.#memory,
      graphs: this.#cuda?.trials,
      target,
      choices: (sizes, type) => {
        if (composed) return [unchunked('composed')];
        if (kind === 'cpu') return [unchunked('cpu')];
        return cudaChoices(sizes, type, isOld(device));
      },
      ...(!composed && kind === 'cuda' ? { findings: findingsOf(device.index) } : {}),
    });
    this.#target = { ...target, attention: (sizes, type) => attentionTrials.choose(sizes, type) };
  }

  /** How images lie, and what kernels of our own compute: as asked for, else as trials on a GPU show. */
  #layout(
    { channelsLast, launcher }: TorchExecutorOptions,
    compute: ComputeType,
  ): Pick<LoweringTarget, 'channelsLast' | 'kernels'> {
    const { kind, index } = this.#device;
    if (kind !== 'cuda') {
      return { channelsLast: channelsLast ?? true, ...(launcher ? { kernels: ownKernels } : {}) };
    }
    const key = `${index} ${compute} ${channelsLast} ${this.#launcher !== undefined}`;
    let found = trials.get(key);
    if (!found) {
      found = this.#tryLayouts(compute, channelsLast);
      trials.set(key, found);
    }
    return found;
  }

  #tryLayouts(compute: ComputeType, asked: boolean | undefined) {
    const place = {
      library: this.#library,
      memory: this.#memory,
      launcher: this.#launcher,
      graphs: this.#cuda?.trials,
    };
    const target = {
      compute,
      attention: () => unchunked('composed'),
      channelsLast: asked ?? true,
      normsTakeChannelsLast: false,
      addsProducts: false,
    };
    const kernels = this.#launcher
      ? this.#library.quietly(() =>
          usefulKernels({ ...place, target }, (kernel, reason) =>
            this.#cuda?.onKernelRefused(kernel, reason),
          ),
        )
      : new Set<never>();
    const channelsLast = asked ?? prefersChannelsLast({ ...place, target: { ...target, kernels } });
    // What was tried is larger than much of what comes.
    this.#memory.releaseCache();
    return { channelsLast, kernels };
  }

  async compile(graph: Graph, { wideRange = false }: CompileOptions = {}): Promise<Executable> {
    const compute = wideRange && this.precision === 'f16' ? 'f32' : this.precision;
    const lowered = lowerGraph(runPasses(graph), { ...this.#target, compute }, this.#library);
    const { leaves, constants, outputs } = lowered;
    const kernels = lowered.calls.flatMap((call) =>
      call.kind === 'launch' ? [call.launch.kernel] : [],
    );
    await this.#launcher?.ready?.(kernels);
    const fixed = [...leaves, ...constants].map(({ value }) => value.id);
    const results = outputs.map(({ value }) => value.id);
    const plan = new Plan(this.#library, {
      ...lowered,
      fixed,
      results,
      productSums: this.#library.productSums(this.#device.kind),
      launcher: this.#launcher,
      allocate: (...tensor) => this.#memory.allocate(...tensor),
    });
    const { events } = this.#cuda ?? {};
    const { owned, link } = this.#fill(plan, lowered);
    const captured = this.#capturedRun(plan, lowered);
    let state: 'idle' | 'running' | 'disposed' = 'idle';
    const begin = async (feeds: Values): Promise<PendingRun> => {
      if (state !== 'idle') throw new Error(`internal: run while ${state}`);
      state = 'running';
      try {
        await link.feed(feeds);
        this.#bindVariables(plan, leaves, captured);
        await (captured ? this.#withRoom(captured, plan) : plan.run());
        return link.fetch((id) => plan.get(id));
      } finally {
        plan.clear();
        if (!captured?.isCaptured) plan.clearResults();
        this.#freed.afterRun();
        state = 'idle';
      }
    };
    const executable: Executable = {
      run: async (feeds) => (await begin(feeds)).read(),
      begin,
      dispose: async () => {
        if (!this.#executables.delete(executable)) return;
        state = 'disposed';
        events?.synchronize();
        if (captured) {
          captured.giveUp();
          this.#captured.delete(captured);
        }
        plan.clearResults();
        link.dispose();
        for (const handle of owned) this.#memory.free(handle);
        plan.dispose();
      },
    };
    this.#executables.add(executable);
    return executable;
  }

  /** Puts in the plan's registers what stays there; `owned` are handles of this plan alone. */
  #fill(plan: Plan, lowered: LoweredGraph): { readonly owned: number[]; readonly link: HostLink } {
    const { leaves, constants } = lowered;
    const { events } = this.#cuda ?? {};
    const owned: number[] = [];
    try {
      for (const { value, shape, values } of constants) {
        const handle = this.#memory.upload(values, shape, value.dtype);
        owned.push(handle);
        plan.set(value.id, handle);
      }
      for (const leaf of leaves) {
        if (leaf.source === 'parameter') plan.set(leaf.value.id, this.#weight(leaf));
      }
      const link = events
        ? stagedLink(this.#memory, events, lowered)
        : directLink(this.#memory, lowered, this.#device.kind === 'cpu');
      for (const [id, handle] of link.inputs) plan.set(id, handle);
      return { owned, link };
    } catch (error) {
      for (const handle of owned) this.#memory.free(handle);
      plan.dispose();
      throw error;
    }
  }

  /** Undefined where no call of the graph may run beside others. */
  #sideWork({ calls }: LoweredGraph): CapturedRunOptions['side'] {
    const cuda = this.#hasSideStream ? this.#cuda : undefined;
    if (!cuda?.side || !cuda.trials) return undefined;
    const beside = new SideRun(calls);
    if (!beside.isUseful) return undefined;
    return {
      stream: cuda.side,
      calls: beside,
      trials: cuda.trials,
      wait: () => cuda.events.synchronize(),
    };
  }

  #capturedRun(plan: Plan, lowered: LoweredGraph): CapturedRun | undefined {
    const { graphs, onRefused } = this.#cuda ?? {};
    if (!graphs || !onRefused) return undefined;
    const captured = new CapturedRun({
      plan,
      maker: graphs,
      state: this.#runState(plan, lowered),
      side: this.#sideWork(lowered),
      isNetwork: lowered.leaves.some(({ source }) => source === 'parameter'),
      releaseCache: () => this.#memory.releaseCache(),
      othersHold: () => [...this.#captured].some((each) => each.isCaptured),
      onRefused,
    });
    this.#captured.add(captured);
    return captured;
  }

  /** Runs; where the device has no memory left, once more without the captured graphs of others, which hold some. */
  async #withRoom(captured: CapturedRun, plan: Plan): Promise<void> {
    try {
      await captured.run();
    } catch (error) {
      const holders = [...this.#captured].filter((each) => each.isCaptured);
      if (!(error instanceof OutOfMemoryError) || holders.length === 0) throw error;
      plan.clear();
      plan.clearResults();
      this.#cuda?.events.synchronize();
      // Who runs call by call for good would need their room each time.
      if (captured.isRefused) this.#cuda?.onRefused('the device has no memory left for it');
      for (const each of holders) captured.isRefused ? each.giveUp() : each.makeRoom();
      this.#memory.releaseCache();
      // Variables are moved after all else, so that a run that failed for memory has changed nothing.
      await captured.run();
    }
  }

  /** The variables that a graph reads and writes, as they are now. */
  #bindVariables(
    plan: Plan,
    leaves: readonly LeafValue[],
    captured: CapturedRun | undefined,
  ): void {
    for (const leaf of leaves) {
      if (leaf.source !== 'variable') continue;
      const handle = this.#boundVariable(leaf);
      const { id } = leaf.value;
      // A captured graph knows the variables by their addresses.
      if (captured?.isCaptured && plan.get(id) !== handle) captured.release();
      plan.set(id, handle);
    }
  }

  #runState(plan: Plan, { outputs, updates }: LoweredGraph): RunState {
    const memory = this.#memory;
    return {
      save: () => {
        const copies: { readonly handle: number; readonly copy: number }[] = [];
        const forget = () => {
          for (const { copy } of copies.splice(0)) memory.free(copy);
        };
        try {
          for (const name of updates) {
            const { handle, shape } = this.#variable(name);
            const copy = memory.allocate(shape, 'f32');
            copies.push({ handle, copy });
            memory.copy(handle, copy, { wait: false });
          }
        } catch (error) {
          forget();
          throw error;
        }
        const restore = () => {
          for (const { handle, copy } of copies) memory.copy(copy, handle, { wait: false });
        };
        return { restore, forget };
      },
      read: () => [
        ...outputs.map((result) =>
          memory.download(plan.get(result.value.id), result.shape, hostType(result)),
        ),
        ...updates.map((name) => this.readVariable(name).data as Float32Array),
      ],
    };
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

  /** A parameter on the device, which all graphs share; read once for each type. */
  #weight({ name, shape, value: { dtype } }: LeafValue): number {
    const key = `${dtype} ${name}`;
    const known = this.#weights.get(key);
    if (known !== undefined) return known;
    const isKernel = this.#target.channelsLast && shape.length === 4;
    const strides = isKernel ? channelsLastStrides(shape) : undefined;
    const values = this.#parameters.read(name);
    if (values.length !== sizeOf(shape)) {
      throw new Error(`internal: parameter ${name} has ${values.length} values, not [${shape}]`);
    }
    const handle = this.#memory.upload(values, shape, dtype, strides);
    this.#weights.set(key, handle);
    return handle;
  }
}

/** An executor on libtorch. @throws UserError where there is no libtorch, or not the device */
export function createTorchExecutor(options: TorchExecutorOptions): Executor {
  return new TorchExecutor(options);
}
