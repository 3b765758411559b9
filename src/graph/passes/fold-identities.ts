/** @file Removes operations that change nothing: reshape and slice to the same shape, times one, chains of reshape and of transpose. */

import { sameShape } from '../../tensor/shape.ts';
import type { Graph, Node } from '../ops.ts';
import { rewriteGraph } from './rewrite-graph.ts';

function isConstant(node: Node, value: number): boolean {
  return node.op === 'constant' && node.attrs.values.every((v) => v === value);
}

/** What `node` equals, where that is one of its inputs. */
function identityOf(node: Node): Node | undefined {
  switch (node.op) {
    case 'reshape':
    case 'expand':
    case 'slice':
    case 'pad':
    case 'sum':
      return node.op !== 'sum' && sameShape(node.shape, node.inputs[0].shape)
        ? node.inputs[0]
        : node.op === 'sum' && node.attrs.axes.every((axis) => node.inputs[0].shape[axis] === 1)
          ? node.inputs[0]
          : undefined;
    case 'transpose':
      return node.attrs.perm.every((p, i) => p === i) ? node.inputs[0] : undefined;
    case 'mul': {
      const [a, b] = node.inputs;
      if (isConstant(b, 1) && sameShape(a.shape, node.shape)) return a;
      if (isConstant(a, 1) && sameShape(b.shape, node.shape)) return b;
      return undefined;
    }
    case 'div': {
      const [a, b] = node.inputs;
      return isConstant(b, 1) && sameShape(a.shape, node.shape) ? a : undefined;
    }
    case 'add': {
      const [a, b] = node.inputs;
      if (isConstant(b, 0) && sameShape(a.shape, node.shape)) return a;
      if (isConstant(a, 0) && sameShape(b.shape, node.shape)) return b;
      return undefined;
    }
    default:
      return undefined;
  }
}

/** A transposition of a transposition as one. */
function mergedTransposes(node: Node): Node | undefined {
  if (node.op !== 'transpose' || node.inputs[0].op !== 'transpose') return undefined;
  const [{ inputs, attrs }] = node.inputs;
  const perm = node.attrs.perm.map((axis) => attrs.perm[axis]!);
  if (perm.every((axis, i) => axis === i)) return inputs[0];
  return { ...node, inputs, attrs: { perm } };
}

/** The graph without operations that only pass their input on. */
export function foldIdentities(graph: Graph): Graph {
  return rewriteGraph(graph, (node) => {
    const same = identityOf(node);
    if (same) return same;
    if (node.op === 'reshape' && node.inputs[0].op === 'reshape') {
      const origin = node.inputs[0].inputs[0];
      return sameShape(origin.shape, node.shape) ? origin : { ...node, inputs: [origin] };
    }
    return mergedTransposes(node) ?? node;
  });
}
