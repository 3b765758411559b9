/** @file The nodes that some results need, in an order in which inputs come before their users. */

import type { Node } from './ops.ts';

/** All ancestors of `results`, sorted by id, which a builder gives in order of creation. */
export function sortTopologically(results: readonly Node[]): Node[] {
  const seen = new Set<Node>();
  const pending = [...results];
  while (pending.length > 0) {
    const node = pending.pop()!;
    if (seen.has(node)) continue;
    seen.add(node);
    pending.push(...node.inputs);
  }
  return [...seen].sort((a, b) => a.id - b.id);
}
