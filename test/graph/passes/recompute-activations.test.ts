/** @file Activations that are computed again: the same numbers, and less that is kept. */

import { expect, test } from 'vitest';
import { grad } from '../../../src/graph/autodiff/grad.ts';
import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import type { Graph, Node } from '../../../src/graph/ops.ts';
import { recomputeActivations } from '../../../src/graph/passes/recompute-activations.ts';
import { runPasses } from '../../../src/graph/passes/run-passes.ts';
import { peakValueBytes } from '../../../src/graph/peak-bytes.ts';
import { verifyGraph } from '../../../src/graph/verify-graph.ts';
import { Rng } from '../../../src/tensor/rng.ts';
import { f32 } from '../../../src/tensor/tensor.ts';
import { executors, noParameters } from '../../helpers/executors.ts';

const [rows, width] = [64, 8];
const layers = 8;

/** Layers of a norm, GEGLU and trained products. */
function network(): { graph: Graph; loss: Node } {
  const g = new GraphBuilder();
  const trained: Node[] = [];
  const product = (name: string, x: Node, out: number) => {
    const weight = g.input(name, [out, x.shape[1]!]);
    trained.push(weight);
    return g.linear(x, weight);
  };
  let x: Node = g.input('x', [rows, width]);
  const [one, zero] = [g.constant(1, [width]), g.constant(0, [width])];
  for (let i = 0; i < layers; i++) {
    const before: Node = x;
    x = g.segment((): Node => {
      const both = product(`in${i}`, g.layerNorm(before, one, zero, 1e-5), 8 * width);
      const half = 4 * width;
      const gates = g.gelu(g.sliceAxis(both, 1, half, 2 * half));
      const inner = g.mul(g.sliceAxis(both, 1, 0, half), gates);
      return g.add(product(`out${i}`, inner, width), before);
    });
  }
  const loss = g.mean(g.square(x), [0, 1]);
  const gradients = grad(g, loss, trained);
  const outputs = Object.fromEntries(gradients.map((node, i) => [`gradient${i}`, node!]));
  return { graph: g.build({ loss, ...outputs }), loss };
}

const { graph, loss } = network();
const recomputed = recomputeActivations(graph, loss);

const feeds = Object.fromEntries(
  graph.nodes.flatMap((node) =>
    node.op === 'input'
      ? [
          [
            node.attrs.name,
            f32(
              node.shape,
              new Rng(3, node.attrs.name)
                .normals(node.shape[0]! * node.shape[1]!)
                .map((v) => 0.3 * v),
            ),
          ],
        ]
      : [],
  ),
);

test.each(executors)('$name: the same numbers', async ({ create }) => {
  const executor = create(noParameters);
  const run = async (one: Graph) => (await executor.compile(one)).run(feeds);
  const [expected, values] = [await run(graph), await run(recomputed)];
  for (const [name, { data }] of Object.entries(expected)) {
    // Sums may be taken in another order, of values up to a few units.
    expect(values[name]!.data, name).toBeAllClose(data as Float32Array, { rtol: 1e-5, atol: 1e-5 });
  }
  await executor.dispose();
});

test('each activation, product and norm of a layer is computed twice, and no more', () => {
  verifyGraph(recomputed);
  const count = (one: Graph, op: string) =>
    runPasses(one, { verify: true }).nodes.filter((node) => node.op === op).length;
  expect(count(recomputed, 'gelu')).toBe(2 * count(graph, 'gelu'));
  expect(count(recomputed, 'layerNorm')).toBe(2 * count(graph, 'layerNorm'));
  expect(count(recomputed, 'mul')).toBe(count(graph, 'mul') + layers);
  expect(count(recomputed, 'linear')).toBe(count(graph, 'linear'));
});

test('what is kept is the inputs of norms and of activations', () => {
  const kept = (one: Graph) => peakValueBytes(runPasses(one));
  // Of 8 + 4 + 4 + 1 + 1 widths a layer, 4 + 4 + 1 are not kept.
  expect(kept(recomputed)).toBeLessThan(0.75 * kept(graph));
});

test('values outside of segments stay as they are', () => {
  const g = new GraphBuilder();
  const x = g.input('x', [2, 2]);
  const w = g.input('w', [2, 2]);
  const y = g.linear(g.gelu(x), w);
  const sum = g.sum(y, [0, 1]);
  const [gradient] = grad(g, sum, [w]);
  const plain = g.build({ sum, gradient: gradient! });
  expect(recomputeActivations(plain, sum).nodes.filter(({ op }) => op === 'gelu')).toHaveLength(1);
});
