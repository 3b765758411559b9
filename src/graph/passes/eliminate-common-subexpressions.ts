/** @file Merges nodes of one kind with equal attributes and the same inputs. */

import type { Graph, Node } from '../ops.ts';
import { rewriteGraph } from './rewrite-graph.ts';

/** JSON has no infinities, no NaN and no negative zero: as text they stay apart. */
function exactly(_: string, value: unknown): unknown {
  const lost = typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0));
  return lost ? (value === 0 ? '-0' : String(value)) : value;
}

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
    const attrs = JSON.stringify(node.attrs, exactly);
    const key = `${node.op} ${node.inputs.map(numberOf)} ${attrs} ${node.shape} ${node.dtype}`;
    const twin = known.get(key);
    if (twin) return twin;
    known.set(key, node);
    return node;
  });
}
