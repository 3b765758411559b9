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
  compile(graph: Graph): Promise<Executable>;
  /** Creates or overwrites a variable. */
  writeVariable(name: string, value: Tensor<'f32'>): void;
  /** A copy of a variable's value. */
  readVariable(name: string): Tensor<'f32'>;
  /** Gives back everything. */
  dispose(): Promise<void>;
}
