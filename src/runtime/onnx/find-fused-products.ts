/** @file Finds additions of a matrix product, which one Gemm computes: C + A·B. */

import type { Graph, Node } from '../../graph/ops.ts';
import { sameShape } from '../../tensor/shape.ts';
import type { FusedProduct } from './rules/rule.ts';

export interface FusedProducts {
  /** By the addition that takes the product over. */
  readonly byAddition: ReadonlyMap<Node, FusedProduct>;
  /** Nodes that no longer stand for themselves. */
  readonly absorbed: ReadonlySet<Node>;
}

function countUses(graph: Graph): Map<Node, number> {
  const uses = new Map<Node, number>();
  const count = (node: Node) => uses.set(node, (uses.get(node) ?? 0) + 1);
  for (const node of graph.nodes) node.inputs.forEach(count);
  for (const node of [...graph.outputs.values(), ...graph.updates.values()]) count(node);
  return uses;
}

/** Each addition takes over at most one product that nothing else reads. */
export function findFusedProducts(graph: Graph): FusedProducts {
  const uses = countUses(graph);
  const byAddition = new Map<Node, FusedProduct>();
  const absorbed = new Set<Node>();
  for (const node of graph.nodes) {
    if (node.op !== 'add') continue;
    const [a, b] = node.inputs;
    if (!sameShape(a.shape, b.shape)) continue;
    for (const [term, rest] of [
      [b, a],
      [a, b],
    ] as const) {
      const path = [term];
      while (path.at(-1)!.op === 'reshape') path.push(path.at(-1)!.inputs[0]!);
      const product = path.at(-1)!;
      const isProduct =
        (product.op === 'linear' && product.inputs.length === 2) ||
        (product.op === 'matmul' && product.shape.length === 2);
      if (!isProduct || path.some((x) => uses.get(x) !== 1 || absorbed.has(x))) continue;
      byAddition.set(node, { rest, product: product as FusedProduct['product'] });
      for (const x of path) absorbed.add(x);
      break;
    }
  }
  return { byAddition, absorbed };
}
