/**
 * @file Finds concatenations whose parts can be written where they will lie: results of operations that
 * can write into a view, and that nothing else reads.
 */

import type { Graph, Node, NodeOf } from '../../graph/ops.ts';

/** Where a value goes: its part of a concatenation. */
export interface Destination {
  readonly whole: NodeOf<'concat'> & Node;
  /** Along the concatenation's dimension. */
  readonly start: number;
}

/** Kinds whose lowering writes to a destination. */
const writers: ReadonlySet<Node['op']> = new Set(['mul', 'geluGrad']);

export function findJoinedWrites(graph: Graph): Map<Node, Destination> {
  const uses = new Map<Node, number>();
  const count = (node: Node) => uses.set(node, (uses.get(node) ?? 0) + 1);
  for (const node of graph.nodes) node.inputs.forEach(count);
  for (const node of [...graph.outputs.values(), ...graph.updates.values()]) count(node);
  const destinations = new Map<Node, Destination>();
  for (const node of graph.nodes) {
    if (node.op !== 'concat') continue;
    if (!node.inputs.every((input) => writers.has(input.op) && uses.get(input) === 1)) continue;
    let start = 0;
    for (const input of node.inputs) {
      destinations.set(input, { whole: node, start });
      start += input.shape[node.attrs.axis]!;
    }
  }
  return destinations;
}
