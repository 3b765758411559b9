/** @file The frame of every pass: a graph made anew, node by node, with inputs replaced. */

import type { Graph, Node } from '../ops.ts';

/**
 * Visits nodes in order; `visit` gets each node with its inputs already replaced and returns what
 * stands for it. Outputs and updates follow.
 */
export function rewriteGraph(graph: Graph, visit: (node: Node, original: Node) => Node): Graph {
  const replaced = new Map<Node, Node>();
  const nodes: Node[] = [];
  const listed = new Set<Node>();
  const list = (node: Node): void => {
    if (listed.has(node)) return;
    for (const input of node.inputs) list(input);
    listed.add(node);
    nodes.push(node);
  };
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((input) => replaced.get(input) ?? input);
    const moved = inputs.every((input, i) => input === node.inputs[i])
      ? node
      : ({ ...node, inputs } as unknown as Node);
    const result = visit(moved, node);
    list(result);
    replaced.set(node, result);
  }
  const follow = (entries: ReadonlyMap<string, Node>) =>
    new Map([...entries].map(([name, node]) => [name, replaced.get(node) ?? node]));
  return { nodes, outputs: follow(graph.outputs), updates: follow(graph.updates) };
}
