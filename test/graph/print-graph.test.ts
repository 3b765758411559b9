/** @file The printed form of a graph. */

import { expect, test } from 'vitest';
import { grad } from '../../src/graph/autodiff/grad.ts';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import { runPasses } from '../../src/graph/passes/run-passes.ts';
import { printGraph } from '../../src/graph/print-graph.ts';

test('a step of gradient descent', () => {
  const g = new GraphBuilder();
  const x = g.input('x', [2, 3]);
  const weight = g.parameter('weight', [4, 3]);
  const up = g.variable('up', [4]);
  const y = g.silu(g.mul(g.linear(x, weight), up));
  const loss = g.mean(g.square(y), [0, 1]);
  const [gradient] = grad(g, loss, [up]);
  const graph = g.build({ loss }, { up: g.sub(up, g.scale(gradient!, 0.1)) });
  expect(printGraph(runPasses(graph, { verify: true }))).toMatchInlineSnapshot(`
    "%0: f32[2,3] = input name=x
    %1: f32[4,3] = parameter name=weight
    %2: f32[4] = variable name=up
    %3: f32[2,4] = linear %0 %1
    %4: f32[2,4] = mul %3 %2
    %5: f32[2,4] = silu %4
    %6: f32[2,4] = mul %5 %5
    %7: f32[1,1] = sum %6 axes=[0,1]
    %8: f32[] = constant values=[0.125]
    %9: f32[1,1] = mul %7 %8
    %10: f32[2,4] = constant values=[0.125]
    %11: f32[2,4] = mul %10 %5
    %12: f32[2,4] = add %11 %11
    %13: f32[2,4] = siluGrad %4 %12
    %14: f32[2,4] = mul %13 %3
    %15: f32[1,4] = sum %14 axes=[0]
    %16: f32[4] = reshape %15 shape=[4]
    %17: f32[] = constant values=[0.1]
    %18: f32[4] = mul %16 %17
    %19: f32[4] = sub %2 %18
    output loss = %9
    update up = %19"
  `);
});

test('long constants are cut', () => {
  const g = new GraphBuilder();
  const table = g.constant(
    Array.from({ length: 12 }, (_, i) => i),
    [12],
  );
  expect(printGraph(g.build({ table }))).toMatchInlineSnapshot(`
    "%0: f32[12] = constant values=[0,1,2,3,4,5,6,7,… 12]
    output table = %0"
  `);
});
