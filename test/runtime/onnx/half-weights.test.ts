/** @file Weights that stay in 16 bits: the same values, half the memory. */

import { expect, test } from 'vitest';
import { grad } from '../../../src/graph/autodiff/grad.ts';
import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import type { Graph } from '../../../src/graph/ops.ts';
import type { ParameterSource } from '../../../src/runtime/executor.ts';
import { lowerGraph } from '../../../src/runtime/onnx/lower-graph.ts';
import { executionOrder } from '../../../src/runtime/onnx/memory/execution-order.ts';
import { graphMemory } from '../../../src/runtime/onnx/memory/graph-memory.ts';
import { createOnnxExecutor } from '../../../src/runtime/onnx/onnx-executor.ts';
import {
  bf16ToF32,
  f16ToF32,
  f32ToBf16,
  f32ToF16,
  type HalfType,
} from '../../../src/tensor/half.ts';
import { Rng } from '../../../src/tensor/rng.ts';
import { i32 } from '../../../src/tensor/tensor.ts';

const size = 64;

/** All that a weight can be read by: a product, its transpose, kernels, a table; a bias is too small. */
function network(): Graph {
  const g = new GraphBuilder();
  const ids = g.input('ids', [size], 'i32');
  const x = g.gather(g.parameter('table', [size, size]), ids);
  const bias = g.parameter('bias', [size]);
  const y = g.linear(
    g.linear(x, g.parameter('first', [size, size]), bias),
    g.parameter('second', [size, size]),
  );
  const image = g.reshape(y, [1, size, 8, 8]);
  const kernel = g.parameter('kernel', [size, size, 3, 3]);
  const z = g.conv2d(image, kernel, bias, { stride: 1, padding: 1 });
  const loss = g.reshape(g.sum(g.mul(z, z), [0, 1, 2, 3]), [1]);
  const [dx] = grad(g, loss, [x]);
  return g.build({ loss, dx: dx! });
}

function sourceOf(type: HalfType): ParameterSource {
  const [narrow, widen] = type === 'f16' ? [f32ToF16, f16ToF32] : [f32ToBf16, bf16ToF32];
  const counts: Record<string, number> = { bias: size, kernel: 9 * size * size };
  const bitsOf = (name: string) => {
    const values = new Rng(1, name).normals(counts[name] ?? size * size);
    return narrow(values.map((value) => value / 10)) as Uint16Array<ArrayBuffer>;
  };
  return {
    read: (name) => widen(bitsOf(name)),
    half: (name) => ({ type, read: () => bitsOf(name) }),
  };
}

test.each(['f16', 'bf16'] as const)('%s gives the same bits as floats', async (type) => {
  const feeds = {
    ids: i32(
      [size],
      Int32Array.from({ length: size }, (_, i) => (7 * i) % size),
    ),
  };
  const results = [];
  for (const halfWeights of [false, true]) {
    const executor = createOnnxExecutor({
      parameters: sourceOf(type),
      threads: 1,
      flipWeights: false,
      halfWeights,
    });
    const executable = await executor.compile(network());
    results.push(await executable.run(feeds));
    await executor.dispose();
  }
  expect(results[1]!['loss']!.data[0]).not.toBe(0);
  expect(results[1]).toEqual(results[0]);
});

test('large weights are fed in 16 bits, and take half the memory', () => {
  const options = { flipWeights: false, halfTypeOf: () => 'f16' as const };
  const types = lowerGraph(network(), options).inputs.map(({ key, type }) => `${key} ${type}`);
  expect(types.toSorted()).toEqual([
    'bias f32',
    'first f16',
    'ids i32',
    'kernel f16',
    'second f16',
    'table f32',
  ]);
  const [floats, halves] = [{ flipWeights: false }, options].map(
    (x) => graphMemory(network(), x).weights,
  );
  expect(floats! - halves!).toBe(2 * 11 * size * size);
});

test('a weight is widened right before its reader, and anew for each', () => {
  const { model } = lowerGraph(network(), { flipWeights: false, halfTypeOf: () => 'f16' });
  const order = executionOrder(model.nodes);
  const casts = order.flatMap(({ opType, outputs }, i) =>
    opType === 'Cast' ? [{ place: i, name: outputs[0]! }] : [],
  );
  // First and second are read forward and backward, and so is the kernel.
  expect(casts).toHaveLength(6);
  for (const { place, name } of casts) {
    const readers = order.flatMap((node, i) => (node.inputs.includes(name) ? [i] : []));
    expect(readers).toHaveLength(1);
    expect(readers[0]! - place).toBeLessThanOrEqual(1);
  }
});
