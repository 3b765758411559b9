/** @file How gradients are collected: sums over paths, what is left out, what has none. */

import { expect, test } from 'vitest';
import { grad } from '../../../src/graph/autodiff/grad.ts';
import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import type { Node } from '../../../src/graph/ops.ts';
import { createReferenceExecutor } from '../../../src/runtime/reference/reference-executor.ts';
import { f32 } from '../../../src/tensor/tensor.ts';
import { noParameters } from '../../helpers/executors.ts';

async function valuesOf(
  g: GraphBuilder,
  nodes: Readonly<Record<string, Node>>,
  feeds: Readonly<Record<string, number>>,
): Promise<Record<string, number>> {
  const executor = createReferenceExecutor({ parameters: noParameters, precision: 'f64' });
  const executable = await executor.compile(g.build(nodes));
  const fed = Object.entries(feeds).map(([name, value]) => [name, f32([], [value])]);
  const outputs = await executable.run(Object.fromEntries(fed));
  return Object.fromEntries(
    Object.entries(outputs).map(([name, { data }]) => [name, Number(data[0])]),
  );
}

test('all paths to a value add up', async () => {
  const g = new GraphBuilder();
  const x = g.input('x', []);
  const y = g.input('y', []);
  // x²·y + x: 2xy + 1 and x².
  const loss = g.add(g.mul(g.square(x), y), x);
  const [dx, dy] = grad(g, loss, [x, y]);
  expect(await valuesOf(g, { dx: dx!, dy: dy! }, { x: 3, y: 5 })).toEqual({ dx: 31, dy: 9 });
});

test('a value and one that it is computed from', async () => {
  const g = new GraphBuilder();
  const x = g.input('x', []);
  const y = g.square(x);
  const [dx, dy, dloss] = grad(g, y, [x, y, y]);
  const values = await valuesOf(g, { dx: dx!, dy: dy!, dloss: dloss! }, { x: 4 });
  expect(values).toEqual({ dx: 8, dy: 1, dloss: 1 });
});

test('null where the loss does not depend on a value', () => {
  const g = new GraphBuilder();
  const [x, y] = [g.input('x', []), g.input('y', [])];
  const later = g.exp(x);
  expect(grad(g, g.exp(x), [y, later])).toEqual([null, null]);
  expect(grad(g, g.barrier(g.constant(1), x), [x])).toEqual([null]);
});

test('frozen weights get no gradient kernels', () => {
  const g = new GraphBuilder();
  const x = g.input('x', [1, 2, 4, 4]);
  const weight = g.parameter('weight', [3, 2, 3, 3]);
  const scale = g.variable('scale', [1, 3, 1, 1]);
  const loss = g.sum(
    g.mul(g.conv2d(g.conv2d(x, g.parameter('w0', [2, 2, 1, 1])), weight), scale),
    [0, 1, 2, 3],
  );
  const [dscale] = grad(g, loss, [scale]);
  const kinds = g.build({ dscale: dscale! }).nodes.map(({ op }) => op);
  expect(kinds).not.toContain('conv2dInputGrad');
  expect(kinds).not.toContain('conv2dWeightGrad');
});

test('only a scalar can be differentiated, and derivatives only once', () => {
  const g = new GraphBuilder();
  const x = g.input('x', [2]);
  expect(() => grad(g, x, [x])).toThrow('internal: the gradient of a value of shape [2]');
  const [dx] = grad(g, g.sum(g.silu(x), [0]), [x]);
  expect(() => grad(g, g.sum(dx!, [0]), [x])).toThrow('siluGrad has no derivative');
});
