/** @file Merges nodes of one kind with equal attributes and the same inputs. */

import type { Graph, Node } from '../ops.ts';
import { rewriteGraph } from './rewrite-graph.ts';

/** The graph with each value computed once. Barriers are never merged: they ask for a second time. */
export function eliminateCommonSubexpressions(graph: Graph): Graph {
  const numbers = new Map<Node, number>();
  const known = new Map<string, Node>();
  const numberOf = (node: Node) => {
    const number = numbers.get(node) ?? numbers.size;
    numbers.set(node, number);
    return number;
  };
  return rewriteGraph(graph, (node) => {
    if (node.op === 'barrier') return node;
    const key = `${node.op} ${node.inputs.map(numberOf)} ${JSON.stringify(node.attrs)} ${node.shape}`;
    const twin = known.get(key);
    if (twin) return twin;
    known.set(key, node);
    return node;
  });
}
