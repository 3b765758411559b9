/** @file Broken graphs that the verifier has to notice. */

import { expect, test } from 'vitest';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Graph, Node } from '../../src/graph/ops.ts';
import { verifyGraph } from '../../src/graph/verify-graph.ts';

function sample(): { graph: Graph; x: Node; y: Node; z: Node } {
  const g = new GraphBuilder();
  const x = g.input('x', [2, 3]);
  const y = g.exp(x);
  const z = g.add(y, g.variable('v', [3]));
  return { graph: g.build({ z }, { v: g.reshape(g.sum(z, [0]), [3]) }), x, y, z };
}

const change = (node: Node, parts: object) => ({ ...node, ...parts }) as Node;

const replace = (graph: Graph, node: Node, by: Node): Graph => ({
  ...graph,
  nodes: graph.nodes.map((other) => (other === node ? by : other)),
});

test('a graph from the builder is well formed', () => {
  expect(() => verifyGraph(sample().graph)).not.toThrow();
});

test('a node before its input', () => {
  const { graph } = sample();
  const reversed = { ...graph, nodes: graph.nodes.toReversed() };
  expect(() => verifyGraph(reversed)).toThrow(/does not come before its user/);
});

test('an input that is not listed', () => {
  const { graph, y } = sample();
  const without = { ...graph, nodes: graph.nodes.filter((node) => node !== y) };
  expect(() => verifyGraph(without)).toThrow(/input %1 does not come before its user/);
});

test('a node listed twice', () => {
  const { graph, x } = sample();
  expect(() => verifyGraph({ ...graph, nodes: [x, ...graph.nodes] })).toThrow(/listed twice/);
});

test('a wrong shape', () => {
  const { graph, y } = sample();
  const wrong = replace(graph, y, change(y, { shape: [3, 2] }));
  expect(() => verifyGraph(wrong)).toThrow(/the shape should be \[2,3\]: %1: f32\[3,2\] = exp/);
});

test('a wrong dtype', () => {
  const { graph, y } = sample();
  const wrong = replace(graph, y, change(y, { dtype: 'i32' }));
  expect(() => verifyGraph(wrong)).toThrow(/the dtype should be f32/);
});

test('two leaves of one name', () => {
  const { graph, x } = sample();
  const twice = { ...graph, nodes: [...graph.nodes, change(x, { id: 99 })] };
  expect(() => verifyGraph(twice)).toThrow(/two leaves of one name/);
});

test('a constant with too few values', () => {
  const g = new GraphBuilder();
  const c = g.constant([1, 2, 3], [3]);
  const graph = g.build({ c });
  const wrong = change(c as Node, { attrs: { values: [1, 2] } });
  const broken = { ...replace(graph, c as Node, wrong), outputs: new Map([['c', wrong]]) };
  expect(() => verifyGraph(broken)).toThrow(/2 values/);
});

test('an output that is not computed', () => {
  const { graph, x } = sample();
  const outputs = new Map([['other', change(x, { id: 99 })]]);
  expect(() => verifyGraph({ ...graph, outputs })).toThrow(/other is not computed/);
});

test('a variable that gets another shape', () => {
  const { graph, z } = sample();
  const updates = new Map([['v', z]]);
  expect(() => verifyGraph({ ...graph, updates })).toThrow('variable v [3] gets [2,3]');
});
