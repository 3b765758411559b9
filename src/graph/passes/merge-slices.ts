/** @file Makes a concatenation of neighbouring slices of one value one slice of it. */

import type { Graph, Node, NodeOf } from '../ops.ts';
import { rewriteGraph } from './rewrite-graph.ts';

type Slice = NodeOf<'slice'> & Node;

/** Whether a value is a slice of another that is cut along one dimension alone. */
const isCut = (node: Node, axis: number): node is Slice =>
  node.op === 'slice' &&
  node.inputs[0].shape.every((size, i) => i === axis || size === node.shape[i]);

/** The slice that two neighbours are together; undefined where they are none. */
function merged(a: Node | undefined, b: Node, axis: number): Slice | undefined {
  if (!a || !isCut(a, axis) || !isCut(b, axis) || a.inputs[0] !== b.inputs[0]) return undefined;
  if (a.attrs.ends[axis] !== b.attrs.starts[axis]) return undefined;
  const { starts } = a.attrs;
  const { ends } = b.attrs;
  return { ...b, shape: ends.map((end, i) => end - starts[i]!), attrs: { starts, ends } };
}

/** The graph without cuts whose parts are put together again. */
export function mergeSlices(graph: Graph): Graph {
  return rewriteGraph(graph, (node) => {
    if (node.op !== 'concat') return node;
    const { axis } = node.attrs;
    const parts: Node[] = [];
    for (const input of node.inputs) {
      const both = merged(parts.at(-1), input, axis);
      if (both) parts.splice(-1, 1, both);
      else parts.push(input);
    }
    if (parts.length === node.inputs.length) return node;
    const [only] = parts;
    if (parts.length > 1) return { ...node, inputs: parts };
    const whole = only!.op === 'slice' ? only!.inputs[0] : undefined;
    return whole?.shape[axis] === node.shape[axis] ? whole! : only!;
  });
}
