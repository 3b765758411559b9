/** @file The largest sum of values that are alive at once. */

import { describe, expect, test } from 'vitest';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Node } from '../../src/graph/ops.ts';
import { peakValueBytes } from '../../src/graph/peak-bytes.ts';

describe('peakValueBytes', () => {
  test('a chain holds two values at a time, and leaves are free', () => {
    const g = new GraphBuilder();
    let x: Node = g.input('x', [100]);
    for (let i = 0; i < 10; i++) x = g.exp(x);
    expect(peakValueBytes(g.build({ x }))).toBe(2 * 400);
  });

  test('values wait for their last reader; a view has no bytes of its own', () => {
    const g = new GraphBuilder();
    const x = g.input('x', [100]);
    const a = g.exp(x);
    const b = g.reshape(a, [10, 10]);
    const c = g.exp(b);
    const d = g.exp(c);
    // a is read again through its view at the end: a, c and d, then a, d and the sum.
    const out = g.add(d, b);
    expect(peakValueBytes(g.build({ out }))).toBe(3 * 400);
  });

  test('outputs stay to the end', () => {
    const g = new GraphBuilder();
    const x = g.input('x', [100]);
    const [a, b] = [g.exp(x), g.sqrt(x)];
    expect(peakValueBytes(g.build({ a, b, c: g.silu(x) }))).toBe(3 * 400);
  });
});
