/**
 * @file Finds results that can be written as they will lie: where a concatenation will have them, or in
 * the order that a transposition wants. Nothing else may read them.
 */

import { countUses } from '../../graph/count-uses.ts';
import type { Graph, Node, NodeOf } from '../../graph/ops.ts';
import type { Shape } from '../../tensor/shape.ts';

/** Where a value goes: its part of a concatenation. */
interface Destination {
  readonly whole: NodeOf<'concat'> & Node;
  /** Along the concatenation's dimension. */
  readonly start: number;
}

/** Kinds whose lowering writes to a destination. */
const writers: ReadonlySet<Node['op']> = new Set(['mul', 'geluGrad']);

export interface PlacedResults {
  readonly destinations: ReadonlyMap<Node, Destination>;
  /** Batches of products that are read transposed alone, by the permutation. */
  readonly transposed: ReadonlyMap<Node, Shape>;
}

export function findPlacedResults(graph: Graph): PlacedResults {
  const uses = countUses(graph, { waits: false });
  const destinations = new Map<Node, Destination>();
  const transposed = new Map<Node, Shape>();
  for (const node of graph.nodes) {
    if (node.op === 'transpose') {
      const [x] = node.inputs;
      const { perm } = node.attrs;
      // The last dimension stays: a product's rows are written one by one.
      const isRows = perm.length === 3 && perm[2] === 2;
      if (isRows && x.op === 'matmul' && uses.get(x) === 1) transposed.set(x, perm);
    }
    if (node.op !== 'concat') continue;
    if (!node.inputs.every((input) => writers.has(input.op) && uses.get(input) === 1)) continue;
    let start = 0;
    for (const input of node.inputs) {
      destinations.set(input, { whole: node, start });
      start += input.shape[node.attrs.axis]!;
    }
  }
  return { destinations, transposed };
}
