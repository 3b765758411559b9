/** @file Additions that take over a product, as new values and in place. */

import { expect, test } from 'vitest';
import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import type { Node } from '../../../src/graph/ops.ts';
import { findFusedProducts } from '../../../src/graph/passes/find-fused-products.ts';

/** x·W + x·A: a frozen layer and what is added to it. */
function layers() {
  const g = new GraphBuilder();
  const x = g.input('x', [2, 3, 4]);
  const base = g.linear(x, g.parameter('w', [5, 4]), g.parameter('b', [5]));
  const change = g.linear(x, g.parameter('a', [5, 4]));
  return { g, x, base, change, sum: g.add(base, change) };
}

const fusedIn = (g: GraphBuilder, outputs: Readonly<Record<string, Node>>, inPlace: boolean) =>
  findFusedProducts(g.build(outputs), { inPlace });

test('an addition takes over a product without a bias', () => {
  const { g, base, change, sum } = layers();
  for (const inPlace of [false, true]) {
    const { byAddition, absorbed } = fusedIn(g, { sum }, inPlace);
    expect(byAddition.get(sum)).toEqual({ rest: base, product: change });
    expect([...absorbed]).toEqual([change]);
  }
});

test('a product that something else reads stays', () => {
  const { g, change, sum } = layers();
  expect(fusedIn(g, { sum, change }, true).byAddition.size).toBe(0);
});

test('nothing is written over what something else reads', () => {
  const { g, base, sum } = layers();
  expect(fusedIn(g, { sum, base }, false).byAddition.size).toBe(1);
  expect(fusedIn(g, { sum, base }, true).byAddition.size).toBe(0);
});

test('nothing is written over what is fed, nor over a view of it', () => {
  const { g, x, change } = layers();
  const other = g.reshape(g.input('other', [6, 5]), [2, 3, 5]);
  const sum = g.add(other, g.add(g.linear(x, g.parameter('w2', [5, 4])), change));
  const inner = sum.inputs[1] as Node;
  expect([...fusedIn(g, { sum }, true).byAddition.keys()]).toEqual([inner]);
});

test('sums of many products are one after the other written over the first', () => {
  const g = new GraphBuilder();
  const products = [0, 1, 2, 3].map((i) =>
    g.matmul(g.input(`a${i}`, [2, 3, 4]), g.input(`b${i}`, [2, 4, 5])),
  );
  const total = products.reduce((a, b) => g.add(a, b));
  const { byAddition, absorbed } = fusedIn(g, { total }, true);
  expect(byAddition.size).toBe(3);
  expect(absorbed.size).toBe(3);
  // A new value would need the batches' own kernel: only in place.
  expect(fusedIn(g, { total }, false).byAddition.size).toBe(0);
});
