/** @file What every executor offers: it compiles graphs, holds variables, and runs. */

import type { Graph } from '../graph/ops.ts';
import type { StoredHalf } from '../tensor/half.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { UserError } from '../tensor/user-error.ts';

/** Where frozen weights come from. Values are f32, row-major. */
export interface ParameterSource {
  /** @throws internal error for a name that the source does not have */
  read(name: string): Float32Array;
  /** The weight as it is stored, where that is in 16-bit floats and in the order of its elements. */
  half?(name: string): StoredHalf | undefined;
}

/** How an executor holds frozen weights. */
export interface WeightOptions {
  /**
   * Frozen convolution kernels are kept in the layouts that run fastest; a graph with gradients then
   * holds each kernel twice.
   */
  readonly flipWeights: boolean;
  /**
   * Weights that are stored in 16-bit floats stay so until an operation reads them: half the memory
   * for the same values, and a conversion at each use.
   */
  readonly halfWeights: boolean;
}

/** Values by name. */
export type Values = Readonly<Record<string, Tensor>>;

/**
 * The device's memory is used up. What the run held is freed, the executor goes on, and variables are as
 * they were: with less at once, the same may succeed.
 */
export class OutOfMemoryError extends UserError {
  /** In the engine's words. */
  readonly reason: string;

  constructor(reason: string) {
    super(
      `the device has no memory left (${reason}); ` +
        'lower train.batchSize or data.resolution, or set train.gradientCheckpointing: true',
    );
    this.name = 'OutOfMemoryError';
    this.reason = reason;
  }
}

/** Float types that networks are computed in. */
export type Precision = 'f32' | 'bf16' | 'f16';

/** How a graph is to be computed. */
export interface CompileOptions {
  /** Not in f16, whose range ends at 65504: for networks whose values go beyond. */
  readonly wideRange?: boolean;
}

/** A run that was begun. */
export interface PendingRun {
  /** Whether nothing is waited for. */
  readonly isOver: boolean;
  /** The outputs, once they are computed; an error of the run may come here. */
  read(): Promise<Record<string, Tensor>>;
}

/** A graph ready to run. */
export interface Executable {
  /**
   * Computes the outputs from the inputs, and moves variables to their new values.
   * @throws OutOfMemoryError
   */
  run(feeds: Values): Promise<Record<string, Tensor>>;
  /**
   * Begins a run on a device that computes while the host goes on: runs take place in the order in which
   * they are begun, and see each other's variables. Feeds may change when it returns. Executors that
   * compute on the host do without it: see `beginRun`.
   */
  begin?(feeds: Values): Promise<PendingRun>;
  /** Gives back what only this graph holds. */
  dispose(): Promise<void>;
}

/** Runs graphs. All graphs of one executor share parameters and variables. */
export interface Executor {
  readonly name: string;
  /** Of the networks; f32 unless given. With f16, losses have to be scaled. */
  readonly precision?: Precision;
  /**
   * Whether layers of one input are faster as one product, though its parts have to be taken apart: where
   * the launch of an operation counts. False unless given.
   */
  readonly joinsLayers?: boolean;
  /**
   * Whether gradients give norms and activations once more in passing, so that none is kept for the
   * backward pass. False unless given.
   */
  readonly recomputesFreely?: boolean;
  /** @throws OutOfMemoryError */
  compile(graph: Graph, options?: CompileOptions): Promise<Executable>;
  /** Creates or overwrites a variable. */
  writeVariable(name: string, value: Tensor<'f32'>): void;
  /** A copy of a variable's value. */
  readVariable(name: string): Tensor<'f32'>;
  /** Gives back everything. */
  dispose(): Promise<void>;
}

/** The memory of a graph on an executor, in bytes. */
export interface GraphMemory {
  /** Frozen weights, in all layouts that are held. */
  readonly weights: number;
  /** What is kept for the graph's values. */
  readonly buffers: number;
}

/** Tells how much memory an executor takes, without computing. */
export interface MemoryModel {
  /** Bytes of the program and the engine. */
  readonly program: number;
  /** The memory is a GPU's, not the machine's. */
  readonly onGpu: boolean;
  /** As the executor's. */
  readonly joinsLayers?: boolean;
  readonly recomputesFreely?: boolean;
  /** How often each variable is held. */
  readonly copiesOfVariables: number;
  /** Whether all graphs take their buffers from one pool; else each keeps its own. */
  readonly sharesBuffers: boolean;
  /** Whether the executor can keep weights in 16 bits. */
  readonly keepsHalfWeights: boolean;
  /** @param source of the weights, to know what they are stored in; unless given, all count as f32 */
  ofGraph(
    graph: Graph,
    options: WeightOptions,
    source?: Pick<ParameterSource, 'half'>,
  ): GraphMemory;
}

/** Begins a run, which is over at once where the executor computes on the host. */
export async function beginRun(executable: Executable, feeds: Values): Promise<PendingRun> {
  if (executable.begin) return executable.begin(feeds);
  const outputs = await executable.run(feeds);
  return { isOver: true, read: async () => outputs };
}
