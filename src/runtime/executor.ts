/** @file What every executor offers: it compiles graphs, holds variables, and runs. */

import type { Graph } from '../graph/ops.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Where frozen weights come from. Values are f32, row-major. */
export interface ParameterSource {
  /** @throws internal error for a name that the source does not have */
  read(name: string): Float32Array;
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
  /**
   * Whether layers of one input are faster as one product, though its parts have to be taken apart: where
   * the launch of an operation counts. False unless given.
   */
  readonly joinsLayers?: boolean;
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
  /** As the executor's. */
  readonly joinsLayers?: boolean;
  /** How often each variable is held. */
  readonly copiesOfVariables: number;
  /** Whether all graphs take their buffers from one pool; else each keeps its own. */
  readonly sharesBuffers: boolean;
  ofGraph(graph: Graph, options: { readonly flipWeights: boolean }): GraphMemory;
}
