/** @file What a value is computed from. */

import type { Node } from './ops.ts';

/** A node and all that it is computed from. */
export function ancestorsOf(node: Node): Set<Node> {
  const seen = new Set<Node>([node]);
  const pending = [node];
  while (pending.length > 0) {
    for (const input of pending.pop()!.inputs) {
      if (seen.has(input)) continue;
      seen.add(input);
      pending.push(input);
    }
  }
  return seen;
}
