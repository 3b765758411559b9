/** @file How often each value of a graph is read. */

import type { Graph, Node } from './ops.ts';

/**
 * Reads of each value: by operations, as an output, as a variable's new value.
 * @param waits whether what a barrier waits for counts as read
 */
export function countUses(graph: Graph, { waits = true } = {}): Map<Node, number> {
  const uses = new Map<Node, number>();
  const count = (node: Node) => uses.set(node, (uses.get(node) ?? 0) + 1);
  for (const node of graph.nodes) {
    if (node.op === 'barrier' && !waits) count(node.inputs[0]);
    else node.inputs.forEach(count);
  }
  for (const node of [...graph.outputs.values(), ...graph.updates.values()]) count(node);
  return uses;
}
