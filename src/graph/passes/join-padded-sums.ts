/**
 * @file Joins the cotangents of slices: each comes with zeros where the others have their values, and
 * they are added up. Where they cover all of a dimension, they are parts of one concatenation.
 */

import { sameShape } from '../../tensor/shape.ts';
import type { Graph, Node, NodeOf } from '../ops.ts';
import { rewriteGraph } from './rewrite-graph.ts';

type Pad = NodeOf<'pad'> & Node;

/** The only dimension in which a value is padded; undefined where there are none or several. */
function paddedAxis({ attrs: { before, after } }: Pad): number | undefined {
  const axes = before.flatMap((size, i) => (size + after[i]! > 0 ? [i] : []));
  return axes.length === 1 ? axes[0] : undefined;
}

/** The terms of a sum of sums; `isInner` tells which sums are only read by another one. */
function termsOf(node: Node, isInner: (node: Node) => boolean): Node[] {
  const { inputs } = node;
  return (inputs as readonly Node[]).flatMap((input) =>
    input.op === 'add' && isInner(input) && sameShape(input.shape, node.shape)
      ? termsOf(input, isInner)
      : [input],
  );
}

/** The parts of a dimension that the terms are, in order; undefined where they are no such parts. */
function partsOf(terms: readonly Node[]): { parts: Node[]; axis: number } | undefined {
  const [first] = terms;
  if (first?.op !== 'pad') return undefined;
  const axis = paddedAxis(first);
  const pads = terms.filter(
    (term): term is Pad =>
      term.op === 'pad' && paddedAxis(term) === axis && sameShape(term.shape, first.shape),
  );
  if (axis === undefined || pads.length < terms.length) return undefined;
  const startOf = (pad: Pad) => pad.attrs.before[axis]!;
  const parts: Node[] = [];
  let end = 0;
  for (const pad of pads.sort((a, b) => startOf(a) - startOf(b))) {
    if (startOf(pad) !== end) return undefined;
    end = first.shape[axis]! - pad.attrs.after[axis]!;
    parts.push(pad.inputs[0]);
  }
  return end === first.shape[axis] ? { parts, axis } : undefined;
}

/** The graph with sums of padded parts as concatenations. */
export function joinPaddedSums(graph: Graph): Graph {
  const readers = new Map<Node, Node[]>();
  for (const node of graph.nodes) {
    for (const input of node.inputs) readers.set(input, [...(readers.get(input) ?? []), node]);
  }
  const fetched = new Set([...graph.outputs.values(), ...graph.updates.values()]);
  /** By the node after rewriting: whether its only reader is another sum. */
  const inner = new Set<Node>();
  return rewriteGraph(graph, (node, original) => {
    if (node.op !== 'add') return node;
    const [reader, ...others] = readers.get(original) ?? [];
    if (reader?.op === 'add' && others.length === 0 && !fetched.has(original)) {
      inner.add(node);
      return node;
    }
    const joined = partsOf(termsOf(node, (input) => inner.has(input)));
    if (!joined) return node;
    const { parts, axis } = joined;
    return { ...node, op: 'concat', inputs: parts, attrs: { axis } } as unknown as Node;
  });
}
