/** @file What every executor offers: it compiles graphs, holds variables, and runs. */

import type { Graph } from '../graph/ops.ts';
import type { StoredHalf } from '../tensor/half.ts';
import type { Tensor } from '../tensor/tensor.ts';

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

/** A graph ready to run. */
export interface Executable {
  /** Computes the outputs from the inputs, and moves variables to their new values. */
  run(feeds: Values): Promise<Record<string, Tensor>>;
  /** Gives back what only this graph holds. */
  dispose(): Promise<void>;
}

/** Runs graphs. All graphs of one executor share parameters and variables. */
export interface Executor {
  readonly name: string;
  compile(graph: Graph): Promise<Executable>;
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
