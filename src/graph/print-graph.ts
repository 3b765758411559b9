/** @file A graph as text, one line a node, for people and for snapshots in tests. */

import type { Graph, Node } from './ops.ts';

function attrText(value: unknown): string {
  if (Array.isArray(value)) {
    return value.length > 8 ? `[${value.slice(0, 8)},… ${value.length}]` : `[${value}]`;
  }
  return String(value);
}

/** One node: `%7: f32[2,320,64,64] = conv2d %3 %5 stride=1 pads=[1,1,1,1]`. */
export function printNode(node: Node, nameOf: (node: Node) => string = (n) => `%${n.id}`): string {
  const attrs = Object.entries(node.attrs).map(([key, value]) => `${key}=${attrText(value)}`);
  const words = [node.op, ...node.inputs.map(nameOf), ...attrs];
  return `${nameOf(node)}: ${node.dtype}[${node.shape}] = ${words.join(' ')}`;
}

/** All nodes, numbered in their order, then what is fetched and what is updated. */
export function printGraph(graph: Graph): string {
  const numbers = new Map(graph.nodes.map((node, i) => [node, `%${i}`]));
  const nameOf = (node: Node) => numbers.get(node) ?? '%?';
  return [
    ...graph.nodes.map((node) => printNode(node, nameOf)),
    ...[...graph.outputs].map(([name, node]) => `output ${name} = ${nameOf(node)}`),
    ...[...graph.updates].map(([name, node]) => `update ${name} = ${nameOf(node)}`),
  ].join('\n');
}
