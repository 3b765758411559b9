/** @file Checks that a graph is well formed: order, shapes, dtypes, names. */

import { sameShape, sizeOf } from '../tensor/shape.ts';
import { type Graph, isNamedLeaf, type LeafKind, type Node, type OpKind } from './ops.ts';
import { printNode } from './print-graph.ts';
import { inferShape } from './shape-rules.ts';

function isLeaf(op: OpKind): op is LeafKind {
  return op === 'input' || op === 'parameter' || op === 'variable' || op === 'constant';
}

/** Throws an internal error at the first node whose inputs, shape or dtype are wrong. */
export function verifyGraph(graph: Graph): void {
  const seen = new Set<Node>();
  const names = new Map<string, Node>();
  for (const node of graph.nodes) {
    const fail = (what: string) => new Error(`internal: ${what}: ${printNode(node)}`);
    if (seen.has(node)) throw fail('a node is listed twice');
    for (const input of node.inputs) {
      if (!seen.has(input)) throw fail(`input %${input.id} does not come before its user`);
    }
    if (!isLeaf(node.op)) {
      const { shape, dtype } = inferShape(node.op, node.inputs as never, node.attrs as never);
      if (!sameShape(shape, node.shape)) throw fail(`the shape should be [${shape}]`);
      if (dtype !== node.dtype) throw fail(`the dtype should be ${dtype}`);
    }
    if (node.op === 'constant') {
      const count = node.attrs.values.length;
      if (count !== 1 && count !== sizeOf(node.shape)) throw fail(`${count} values`);
    }
    if (isNamedLeaf(node)) {
      const key = `${node.op}:${node.attrs.name}`;
      if (names.has(key)) throw fail('two leaves of one name');
      names.set(key, node);
    }
    seen.add(node);
  }
  for (const [name, node] of [...graph.outputs, ...graph.updates]) {
    if (!seen.has(node)) throw new Error(`internal: ${name} is not computed by the graph`);
  }
  for (const [name, node] of graph.updates) {
    const variable = names.get(`variable:${name}`);
    if (variable && !sameShape(variable.shape, node.shape)) {
      throw new Error(`internal: variable ${name} [${variable.shape}] gets [${node.shape}]`);
    }
  }
}
