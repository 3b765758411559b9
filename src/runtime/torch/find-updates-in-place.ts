/**
 * @file Finds chains of elementwise operations that can write variables' new values over the old ones:
 * they are computed last, so that nobody reads the old ones any more.
 */

import { countUses } from '../../graph/count-uses.ts';
import type { Graph, Node } from '../../graph/ops.ts';
import type { FusedKernels } from './find-fused-kernels.ts';
import type { PointwiseChain } from './find-pointwise.ts';
import { isView } from './rules/movement.ts';

interface UpdateInPlace {
  readonly chain: PointwiseChain;
  /** The variables that its outputs are written to, in their order. */
  readonly variables: readonly string[];
}

/** By the nodes that stand for the chains, in the order in which they are to be computed. */
export type UpdatesInPlace = ReadonlyMap<Node, UpdateInPlace>;

/** The variable that a value shows, if any. */
function shownVariable(node: Node): string | undefined {
  let shown = node;
  while (isView(shown) || shown.op === 'barrier') shown = shown.inputs[0];
  return shown.op === 'variable' ? shown.attrs.name : undefined;
}

export function findUpdatesInPlace(graph: Graph, { byNode }: FusedKernels): UpdatesInPlace {
  const uses = countUses(graph);
  const names = new Map(Array.from(graph.updates, ([name, node]) => [node, name]));
  const found = new Map<Node, UpdateInPlace>();
  const changed = new Set<string>();
  for (const [node, kernel] of byNode) {
    if (kernel.kind !== 'pointwise') continue;
    const { chain } = kernel;
    const inside = new Map<Node, number>();
    for (const { inputs } of chain.members) {
      for (const input of inputs) inside.set(input, (inside.get(input) ?? 0) + 1);
    }
    const isOnlyUpdate = (output: Node) =>
      names.has(output) && uses.get(output) === (inside.get(output) ?? 0) + 1;
    if (!chain.outputs.every(isOnlyUpdate)) continue;
    const variables = chain.outputs.map((output) => names.get(output)!);
    const isSafe = (input: Node) => {
      const name = shownVariable(input);
      if (name === undefined) return true;
      // Its own variables element by element; not one of them as a number, nor what was written before.
      return !changed.has(name) && (input.op === 'variable' || !variables.includes(name));
    };
    if (!chain.inputs.every(isSafe)) continue;
    for (const name of variables) changed.add(name);
    found.set(node, { chain, variables });
  }
  return found;
}
