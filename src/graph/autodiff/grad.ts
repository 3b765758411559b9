/** @file Reverse-mode differentiation of a scalar by any nodes that it was computed from. */

import type { GraphBuilder } from '../graph-builder.ts';
import type { Node } from '../ops.ts';
import { sortTopologically } from '../sort-topologically.ts';
import { vjp } from './vjp-rules.ts';

/**
 * The gradients of `loss` with respect to each of `wrt`, in that order; `null` for a node that the
 * loss does not depend on. Nothing is computed for values that lead to none of `wrt`.
 *
 * @param loss a node with one element
 */
export function grad(g: GraphBuilder, loss: Node, wrt: readonly Node[]): (Node | null)[] {
  if (loss.shape.some((d) => d !== 1)) {
    throw new Error(`internal: the gradient of a value of shape [${loss.shape}]`);
  }
  const order = sortTopologically([loss]);
  const active = new Set<Node>(wrt);
  for (const node of order) {
    if (node.op !== 'barrier' && node.inputs.some((input) => active.has(input))) active.add(node);
    if (node.op === 'barrier' && active.has(node.inputs[0])) active.add(node);
  }
  const cotangents = new Map<Node, Node>([[loss, g.constant(1, loss.shape)]]);
  const targets = new Set(wrt);
  for (const node of order.reverse()) {
    const ct = cotangents.get(node);
    if (!ct || !active.has(node)) continue;
    const inputs: readonly Node[] = node.inputs;
    const needed = (input: number) => active.has(inputs[input]!);
    if (!inputs.some((input) => active.has(input))) continue;
    const parts = vjp(g, node, ct, needed);
    for (const [i, part] of parts.entries()) {
      const input = inputs[i]!;
      if (!part || !active.has(input)) continue;
      const sum = cotangents.get(input);
      cotangents.set(input, sum ? g.add(sum, part) : part);
    }
    if (!targets.has(node)) cotangents.delete(node);
  }
  return wrt.map((node) => cotangents.get(node) ?? null);
}
