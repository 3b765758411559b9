/** @file The parts of a gradient graph's time that a run of it cannot tell apart: each as a graph of its own. */

import { GraphBuilder } from '../src/graph/graph-builder.ts';
import type { Graph } from '../src/graph/ops.ts';
import { eliminateDeadCode } from '../src/graph/passes/eliminate-dead-code.ts';
import type { Executor, Values } from '../src/runtime/executor.ts';
import { summarize } from './statistics.ts';

/** In seconds, medians. */
export interface GradientPhases {
  /** Of the loss alone, its feeds and read-back included. */
  readonly forward: number;
  /** Every feed to the device, and one number of each back. */
  readonly transfers: number;
}

/** The loss and what it is computed from. */
function forwardGraph(graph: Graph): Graph {
  const outputs = new Map([['loss', graph.outputs.get('loss')!]]);
  return eliminateDeadCode({ ...graph, outputs, updates: new Map() });
}

/** The same inputs, each summed. */
function transferGraph(graph: Graph): Graph {
  const g = new GraphBuilder();
  const sums = graph.nodes.flatMap((node) => {
    if (node.op !== 'input') return [];
    const { name } = node.attrs;
    const value = g.input(name, node.shape, node.dtype);
    const axes = node.shape.map((_, i) => i);
    return [[name, axes.length > 0 ? g.sum(value, axes) : g.scale(value, 2)] as const];
  });
  return g.build(Object.fromEntries(sums));
}

function inputsOf({ nodes }: Graph, feeds: Values): Values {
  const names = nodes.flatMap((node) => (node.op === 'input' ? [node.attrs.name] : []));
  return Object.fromEntries(names.map((name) => [name, feeds[name]!]));
}

async function medianOf(executor: Executor, graph: Graph, feeds: Values, runs: number) {
  const executable = await executor.compile(graph);
  const times: number[] = [];
  const own = inputsOf(graph, feeds);
  // The first two are not counted: kernels are chosen, graphs captured.
  for (let i = -2; i < runs; i++) {
    const began = performance.now();
    const results = await executable.run(own);
    // Read, in case the executor waits for the device only then.
    for (const { data } of Object.values(results)) if (data.length === 0) throw new Error('empty');
    if (i >= 0) times.push((performance.now() - began) / 1000);
  }
  await executable.dispose();
  return summarize(times).median;
}

/** Compiles two more graphs and runs each so often; backward is the rest of the gradient graph's time. */
export async function gradientPhases(
  executor: Executor,
  graph: Graph,
  feeds: Values,
  runs: number,
): Promise<GradientPhases> {
  return {
    forward: await medianOf(executor, forwardGraph(graph), feeds, runs),
    transfers: await medianOf(executor, transferGraph(graph), feeds, runs),
  };
}
