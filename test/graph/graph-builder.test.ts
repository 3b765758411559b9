/** @file Leaves, segments and small helpers of the builder. */

import { expect, test } from 'vitest';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';

test('leaves of one name are one node', () => {
  const g = new GraphBuilder();
  expect(g.input('x', [2])).toBe(g.input('x', [2]));
  expect(g.input('x', [2])).not.toBe(g.variable('x', [2]));
  expect(g.constant(1)).toBe(g.constant(1));
  expect(g.constant(1)).not.toBe(g.constant(1, [1]));
  expect(g.constant(0)).not.toBe(g.constant(-0));
});

test('one name with two shapes or dtypes is refused', () => {
  const g = new GraphBuilder();
  g.input('x', [2]);
  expect(() => g.input('x', [3])).toThrow('internal: input:x as f32[2] and as f32[3]');
  expect(() => g.input('x', [2], 'i32')).toThrow('internal: input:x as f32[2] and as i32[2]');
});

test('a constant has one value or one for each element', () => {
  const g = new GraphBuilder();
  expect(g.constant([1, 2], [2]).attrs.values).toEqual([1, 2]);
  expect(() => g.constant([1, 2], [3])).toThrow('2 values for a constant of shape [3]');
});

test('only what is needed is in the graph, inputs first', () => {
  const g = new GraphBuilder();
  const x = g.input('x', [2]);
  g.exp(x);
  const y = g.silu(x);
  const z = g.add(y, x);
  expect(g.build({ z, y }).nodes).toEqual([x, y, z]);
});

test('segments mark what is built in them; an inner one belongs to the outer', () => {
  const g = new GraphBuilder();
  const x = g.input('x', [2]);
  const a = g.segment(() => g.exp(g.segment(() => g.exp(x))));
  const b = g.segment(() => g.exp(a));
  expect([a.segment, a.inputs[0]!.segment, b.segment]).toEqual([0, 0, 1]);
  expect(g.exp(b)).not.toHaveProperty('segment');
  expect(() =>
    g.segment(() => {
      throw new Error('stop');
    }),
  ).toThrow('stop');
  expect(g.exp(b)).not.toHaveProperty('segment');
});

test('sumTo undoes broadcasting', () => {
  const g = new GraphBuilder();
  const x = g.input('x', [2, 3, 4]);
  expect(g.sumTo(x, [3, 1]).shape).toEqual([3, 1]);
  expect(g.sumTo(x, []).shape).toEqual([]);
  expect(g.sumTo(x, [2, 3, 4])).toBe(x);
});
