/** @file The passes that every graph goes through before an executor gets it. */

import type { Graph } from '../ops.ts';
import { verifyGraph } from '../verify-graph.ts';
import { eliminateCommonSubexpressions } from './eliminate-common-subexpressions.ts';
import { eliminateDeadCode } from './eliminate-dead-code.ts';
import { foldConstants } from './fold-constants.ts';
import { foldIdentities } from './fold-identities.ts';
import { joinPaddedSums } from './join-padded-sums.ts';
import { mergeSlices } from './merge-slices.ts';

/** A pass makes an equal graph. */
type Pass = (graph: Graph) => Graph;

const standardPasses: readonly Pass[] = [
  foldConstants,
  foldIdentities,
  joinPaddedSums,
  mergeSlices,
  eliminateCommonSubexpressions,
  eliminateDeadCode,
];

/** The graph after all standard passes; `verify` checks it after each. */
export function runPasses(graph: Graph, { verify = false } = {}): Graph {
  let current = graph;
  for (const pass of standardPasses) {
    current = pass(current);
    if (verify) verifyGraph(current);
  }
  return current;
}
