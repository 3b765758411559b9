/** @file Drops nodes that no output or update needs. */

import type { Graph, Node } from '../ops.ts';

/** The same graph without unused nodes, in the same order. */
export function eliminateDeadCode(graph: Graph): Graph {
  const needed = new Set<Node>([...graph.outputs.values(), ...graph.updates.values()]);
  for (const node of graph.nodes.toReversed()) {
    if (needed.has(node)) for (const input of node.inputs) needed.add(input);
  }
  return { ...graph, nodes: graph.nodes.filter((node) => needed.has(node)) };
}
