/** @file Computes what depends on constants alone while the graph is built. */

import { sizeOf } from '../../tensor/shape.ts';
import type { Graph, Node } from '../ops.ts';
import { rewriteGraph } from './rewrite-graph.ts';

const arithmetic = {
  add: (a: number, b: number) => a + b,
  sub: (a: number, b: number) => a - b,
  mul: (a: number, b: number) => a * b,
  div: (a: number, b: number) => a / b,
} as const;

function isUniform(node: Node): node is Extract<Node, { op: 'constant' }> {
  return node.op === 'constant' && node.attrs.values.length === 1;
}

function constantLike(node: Node, value: number): Node {
  return {
    id: node.id,
    op: 'constant',
    inputs: [],
    attrs: { values: [value] },
    shape: node.shape,
    dtype: node.dtype,
  };
}

function foldUniform(node: Node): Node {
  switch (node.op) {
    case 'add':
    case 'sub':
    case 'mul':
    case 'div': {
      const [a, b] = node.inputs;
      if (!isUniform(a) || !isUniform(b)) return node;
      return constantLike(node, arithmetic[node.op](a.attrs.values[0]!, b.attrs.values[0]!));
    }
    case 'expand':
    case 'reshape':
    case 'slice':
    case 'transpose': {
      const [x] = node.inputs;
      return isUniform(x) ? constantLike(node, x.attrs.values[0]!) : node;
    }
    case 'sum': {
      const [x] = node.inputs;
      const count = sizeOf(x.shape) / Math.max(1, sizeOf(node.shape));
      return isUniform(x) ? constantLike(node, x.attrs.values[0]! * count) : node;
    }
    default:
      return node;
  }
}

/** Constant arithmetic on uniform constants: cotangents of sums and means start as such. */
export function foldConstants(graph: Graph): Graph {
  return rewriteGraph(graph, foldUniform);
}
