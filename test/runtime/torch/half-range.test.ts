/** @file What goes beyond the range of f16 on libtorch, and must not be in it. */

import { describe, expect, test } from 'vitest';
import { grad } from '../../../src/graph/autodiff/grad.ts';
import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import type { ComputeType } from '../../../src/runtime/torch/rules/rule.ts';
import { createTorchExecutor } from '../../../src/runtime/torch/torch-executor.ts';
import { Rng } from '../../../src/tensor/rng.ts';
import { type Shape, sizeOf } from '../../../src/tensor/shape.ts';
import { f32 } from '../../../src/tensor/tensor.ts';
import { parametersFrom, torchMissing } from '../../helpers/executors.ts';

const normals = (shape: Shape, key: string) => f32(shape, new Rng(5, key).normals(sizeOf(shape)));

const create = (options: { readonly compute: ComputeType; readonly composedAttention?: boolean }) =>
  createTorchExecutor({
    parameters: parametersFrom({ w: normals([8, 8], 'w') }),
    device: 'cpu',
    threads: 1,
    ...options,
  });

const suite = torchMissing === undefined ? 'torch' : `torch (skipped: ${torchMissing})`;

describe.skipIf(torchMissing !== undefined)(suite, () => {
  test('in f16 a graph may ask for a wider range, with the same weights', async () => {
    const g = new GraphBuilder();
    const large = g.scale(g.linear(g.input('x', [1, 8]), g.parameter('w', [8, 8])), 1e6);
    const graph = g.build({ y: g.scale(large, 1e-6) });
    const executor = create({ compute: 'f16' });
    const x = normals([1, 8], 'x');
    const narrow = await (await executor.compile(graph)).run({ x });
    expect([...narrow['y']!.data].some(Number.isFinite)).toBe(false);
    const wide = await (await executor.compile(graph, { wideRange: true })).run({ x });
    const exact = create({ compute: 'f32' });
    const { y } = await (await exact.compile(graph)).run({ x });
    expect(wide['y']!.data).toEqual(y!.data);
    await Promise.all([executor.dispose(), exact.dispose()]);
  });

  test('in f16 the scores of composed attention may go beyond its range', async () => {
    const large = (key: string) => {
      const { shape, data } = normals([1, 4, 8], key);
      return f32(
        shape,
        data.map((x) => 300 * x),
      );
    };
    const feeds = { q: large('q'), k: large('k'), v: normals([1, 4, 8], 'v') };
    const outputs = async (compute: ComputeType) => {
      const executor = create({ compute, composedAttention: true });
      const g = new GraphBuilder();
      const [q, k, v] = (['q', 'k', 'v'] as const).map((name) => g.input(name, [1, 4, 8]));
      const out = g.attention(q!, k!, v!, { heads: 1, scale: 1, causal: true });
      const [slope] = grad(g, g.sum(g.reshape(out, [32]), [0]), [v!]);
      const executable = await executor.compile(g.build({ out, slope: slope! }));
      const found = await executable.run(feeds);
      await executor.dispose();
      return [...found['out']!.data, ...found['slope']!.data].map(Number);
    };
    // Each query sees one key, as scores are that far apart.
    expect(await outputs('f16')).toBeAllClose(await outputs('f32'), { rtol: 0, atol: 2e-3 });
  });
});
