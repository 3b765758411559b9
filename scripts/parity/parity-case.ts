/** @file What a parity case is: one kind of golden numbers, and how to make ours. */

import type { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Node } from '../../src/graph/ops.ts';
import type { CompileOptions, Executor, Values } from '../../src/runtime/executor.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import type { Family } from './family.ts';
import type { GoldenFile } from './golden-file.ts';
import type { Report } from './report.ts';

/** The executor of one case, with what most cases do with it. */
export interface Engine {
  readonly executor: Executor;
  /** Builds a graph, runs it once, and drops it. */
  compute<K extends string>(
    build: (g: GraphBuilder) => Readonly<Record<K, Node>>,
    feeds: Values,
    options?: CompileOptions,
  ): Promise<Record<K, Tensor<'f32'>>>;
}

export interface CaseContext {
  readonly family: Family;
  readonly engine: Engine;
  readonly report: Report;
  /** Opens a golden file; tensors that the case does not read are reported as not compared. */
  golden(file: string): Promise<GoldenFile>;
}

export interface ParityCase {
  readonly name: string;
  /** Golden file in index.json that shows that the folder has this case. */
  readonly marker: string;
  /** All golden files that it reads. */
  readonly files: readonly string[];
  /** Left out on the reference executor unless it is asked for by name. */
  readonly slow?: boolean;
  /** What is rounded to 16 bits grows from step to step: bounds are so many times wider there. */
  readonly roundingGrows?: number;
  /** No executor takes part. */
  readonly host?: boolean;
  run(context: CaseContext): Promise<void>;
}
