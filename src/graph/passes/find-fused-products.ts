/** @file Finds additions of a matrix product, which one call computes: C + A·B. */

import { sameShape } from '../../tensor/shape.ts';
import { countUses } from '../count-uses.ts';
import type { Graph, Node, NodeOf } from '../ops.ts';

/** An addition `rest + product`, computed at once. */
export interface FusedProduct {
  readonly rest: Node;
  readonly product: NodeOf<'linear'> | NodeOf<'matmul'>;
}

export interface FusedProducts {
  /** By the addition that takes the product over. */
  readonly byAddition: ReadonlyMap<Node, FusedProduct>;
  /** Nodes that no longer stand for themselves. */
  readonly absorbed: ReadonlySet<Node>;
}

export interface FusionOptions {
  /**
   * The product is added where the rest lies: batched products too, but only to values that are of no
   * use to anything else. False unless given: the sum is a new value.
   */
  readonly inPlace?: boolean;
}

/** Kinds whose result is a value of its own. */
const makesValue: ReadonlySet<Node['op']> = new Set(['linear', 'matmul']);
/** Kinds that show their input's elements. */
const views: ReadonlySet<Node['op']> = new Set(['reshape', 'transpose']);

/** Each addition takes over at most one product that nothing else reads. */
export function findFusedProducts(graph: Graph, { inPlace = false }: FusionOptions = {}) {
  // Whoever computes in the graph's order has no value that waits to be read.
  const uses = countUses(graph, { waits: !inPlace });
  const byAddition = new Map<Node, FusedProduct>();
  const absorbed = new Set<Node>();
  const isFree = (node: Node) => uses.get(node) === 1 && !absorbed.has(node);
  const isProduct = (node: Node, isDirect: boolean): node is FusedProduct['product'] & Node =>
    (node.op === 'linear' && node.inputs.length === 2) ||
    (node.op === 'matmul' && node.shape.length === 2) ||
    (node.op === 'matmul' && node.shape.length === 3 && inPlace && isDirect);
  /** Whether a sum may be written over this value. */
  const isSpare = (node: Node): boolean => {
    if (!isFree(node)) return false;
    if (views.has(node.op)) return isSpare(node.inputs[0]!);
    return makesValue.has(node.op) || byAddition.has(node);
  };
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
      if (!isProduct(product, path.length === 1) || !path.every(isFree)) continue;
      if (inPlace && !isSpare(rest)) continue;
      byAddition.set(node, { rest, product });
      for (const x of path) absorbed.add(x);
      break;
    }
  }
  return { byAddition, absorbed } satisfies FusedProducts;
}
