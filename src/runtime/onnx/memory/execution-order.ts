/** @file The order in which ONNX Runtime runs the nodes of a model. */

import type { OnnxNode } from '../onnx-proto.ts';

/**
 * Depth first from the last node that no one reads, and before a node its last-listed producers
 * (onnxruntime/core/graph/graph_viewer.cc, the default order).
 */
export function executionOrder(nodes: readonly OnnxNode[]): OnnxNode[] {
  const producerOf = new Map<string, number>();
  for (const [i, { outputs }] of nodes.entries()) {
    for (const name of outputs) producerOf.set(name, i);
  }
  const producers = nodes.map(({ inputs }) => {
    const found = inputs.map((name) => producerOf.get(name)).filter((i) => i !== undefined);
    return [...new Set(found)].sort((a, b) => a - b);
  });
  const isRead = new Set(producers.flat());
  const stack = nodes.flatMap((_, i) => (isRead.has(i) ? [] : [{ node: i, done: false }]));
  const visited = new Set<number>();
  const order: OnnxNode[] = [];
  for (let top = stack.pop(); top; top = stack.pop()) {
    const { node, done } = top;
    if (done) order.push(nodes[node]!);
    if (done || visited.has(node)) continue;
    visited.add(node);
    stack.push({ node, done: true }, ...producers[node]!.map((i) => ({ node: i, done: false })));
  }
  return order;
}
