/** @file The arithmetic of graphs, against counts by hand. */

import { expect, test } from 'vitest';
import { randomModel } from '../../bench/bench-model.ts';
import { parseCase } from '../../bench/cases.ts';
import { stepGraph, unetLayout } from '../../bench/training-step.ts';
import { grad } from '../../src/graph/autodiff/grad.ts';
import { countFlops } from '../../src/graph/count-flops.ts';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Node } from '../../src/graph/ops.ts';

const flops = (build: (g: GraphBuilder) => Node) => {
  const g = new GraphBuilder();
  return countFlops(g.build({ out: build(g) }));
};

test('a matrix product', () => {
  const plain = flops((g) => g.matmul(g.input('a', [2, 3, 5]), g.input('b', [2, 5, 7])));
  expect(plain).toBe(2 * 2 * 3 * 5 * 7);
  const transposed = flops((g) =>
    g.matmul(g.input('a', [2, 5, 3]), g.input('b', [2, 5, 7]), { transposeA: true }),
  );
  expect(transposed).toBe(plain);
});

test('a linear layer, whose bias is no product', () => {
  const layer = flops((g) =>
    g.linear(g.input('x', [2, 3, 5]), g.parameter('w', [7, 5]), g.parameter('b', [7])),
  );
  expect(layer).toBe(2 * (2 * 3) * 5 * 7);
});

test('a convolution and its gradients', () => {
  const g = new GraphBuilder();
  const x = g.input('x', [2, 3, 8, 8]);
  const w = g.input('w', [5, 3, 3, 3]);
  const y = g.conv2d(x, w, undefined, { stride: 2, padding: 1 });
  const one = 2 * (2 * 5 * 4 * 4) * (3 * 3 * 3);
  expect(countFlops(g.build({ y }))).toBe(one);
  const [dx, dw] = grad(g, g.sum(y, [0, 1, 2, 3]), [x, w]);
  expect(countFlops(g.build({ y, dx: dx! }))).toBe(2 * one);
  expect(countFlops(g.build({ y, dx: dx!, dw: dw! }))).toBe(3 * one);
});

test('attention: two products forward, five for all gradients', () => {
  const g = new GraphBuilder();
  const [q, k, v] = ['q', 'k', 'v'].map((name) => g.input(name, [2, name === 'q' ? 6 : 4, 8]));
  const y = g.attention(q!, k!, v!, { heads: 2, scale: 0.5, causal: false });
  const one = 2 * (2 * 6 * 4 * 8);
  expect(countFlops(g.build({ y }))).toBe(2 * one);
  const [dq, dk, dv] = grad(g, g.sum(g.square(y), [0, 1, 2]), [q!, k!, v!]);
  expect(countFlops(g.build({ y, dq: dq!, dk: dk!, dv: dv! }))).toBe((2 + 5) * one);
  expect(countFlops(g.build({ y, dv: dv! }))).toBe((2 + 2) * one);
});

test('a step of a full-size UNet is what its layers make', () => {
  const bench = parseCase('sd15-512-b1');
  const model = randomModel(bench, 0);
  const graph = stepGraph(model, unetLayout(model, 1), { ...bench, rank: 1 });
  // Counted by hand over the layers, without LoRA: 0.803 TFLOP forward; input gradients alone and
  // attention's five products backward make 1.80.
  expect(countFlops(graph) / 1e12).toBeCloseTo(1.8, 1);
});
