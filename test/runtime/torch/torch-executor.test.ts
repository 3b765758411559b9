/** @file What is libtorch's own: types, memory, devices, messages. */

import { describe, expect, test } from 'vitest';
import { grad } from '../../../src/graph/autodiff/grad.ts';
import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import type { ComputeType } from '../../../src/runtime/torch/rules/rule.ts';
import {
  createTorchExecutor,
  type TorchExecutorOptions,
} from '../../../src/runtime/torch/torch-executor.ts';
import { Rng } from '../../../src/tensor/rng.ts';
import { type Shape, sizeOf } from '../../../src/tensor/shape.ts';
import { f32 } from '../../../src/tensor/tensor.ts';
import { noParameters, parametersFrom, torchMissing } from '../../helpers/executors.ts';

const normals = (shape: Shape, key: string) => f32(shape, new Rng(5, key).normals(sizeOf(shape)));

const weights = { w: normals([8, 8], 'w'), b: normals([8], 'b'), k: normals([8, 8, 3, 3], 'k') };
const create = (options: Partial<TorchExecutorOptions> = {}) =>
  createTorchExecutor({
    parameters: parametersFrom(weights),
    device: 'cpu',
    threads: 1,
    ...options,
  });

/** A frozen convolution and layer with a factor beside it, and the factor's update. */
function smallStep() {
  const g = new GraphBuilder();
  const image = g.conv2d(g.input('x', [1, 8, 4, 4]), g.parameter('k', [8, 8, 3, 3]), undefined, {
    padding: 1,
  });
  const rows = g.transpose(g.reshape(image, [8, 16]), [1, 0]);
  const factor = g.reshape(g.sliceAxis(g.variable('v', [128]), 0, 0, 64), [8, 8]);
  const base = g.linear(rows, g.parameter('w', [8, 8]), g.parameter('b', [8]));
  const y = g.silu(g.add(base, g.linear(rows, factor)));
  const loss = g.mean(g.square(y), [0, 1]);
  const [gradient] = grad(g, loss, [factor]);
  const flat = g.concat([g.reshape(gradient!, [64]), g.constant(0, [64])], 0);
  const next = g.sub(g.variable('v', [128]), g.scale(flat, 1e-3));
  return g.build({ loss }, { v: next });
}

async function runSteps(compute: ComputeType, count: number) {
  const executor = create({ compute });
  executor.writeVariable('v', normals([128], 'v'));
  const executable = await executor.compile(smallStep());
  const losses: number[] = [];
  for (let i = 0; i < count; i++) {
    const { loss } = await executable.run({ x: normals([1, 8, 4, 4], `x${i}`) });
    losses.push(loss!.data[0] as number);
  }
  const v = executor.readVariable('v').data;
  await executor.dispose();
  return { losses, v };
}

const suite = torchMissing === undefined ? 'torch' : `torch (skipped: ${torchMissing})`;

describe.skipIf(torchMissing !== undefined)(suite, () => {
  test('in bf16 the networks are rounded, the variables are not', async () => {
    const exact = await runSteps('f32', 3);
    const rounded = await runSteps('bf16', 3);
    const half = await runSteps('f16', 3);
    // 8 and 11 bits over four layers.
    expect(rounded.losses).toBeAllClose(exact.losses, { rtol: 0.02, atol: 0 });
    expect(half.losses).toBeAllClose(exact.losses, { rtol: 0.003, atol: 0 });
    expect(rounded.losses).not.toEqual(exact.losses);
    // An update of a thousandth would be lost in a bf16 variable. Gradients have 8 bits.
    expect(rounded.v).toBeAllClose(exact.v, { rtol: 0, atol: 5e-4 });
    expect(rounded.v).not.toEqual(normals([128], 'v').data);
  });

  test('no handle is left behind: memory does not grow with runs', async () => {
    const executor = create();
    // Tensors of 36 MB, which the C library gives back to the system as they are freed.
    const side = 3000;
    executor.writeVariable('v', f32([side, side]));
    const g = new GraphBuilder();
    const v = g.variable('v', [side, side]);
    const y = g.layerNorm(v, g.constant(1, [side]), g.constant(0, [side]), 1e-5);
    const executable = await executor.compile(g.build({ y: g.sum(y, [0, 1]) }, { v: g.exp(y) }));
    for (let i = 0; i < 2; i++) await executable.run({});
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 6; i++) await executable.run({});
    // One tensor left by each run would be 216 MB.
    expect(process.memoryUsage().rss - before).toBeLessThan(100e6);
    await executor.dispose();
  });

  test('after an error inside of libtorch the executor goes on', async () => {
    const executor = create({ parameters: noParameters });
    const g = new GraphBuilder();
    const table = g.input('table', [3, 2]);
    const y = g.gather(table, g.input('ids', [1], 'i32'));
    const executable = await executor.compile(g.build({ y: g.exp(y) }));
    const run = (id: number) =>
      executable.run({
        table: f32([3, 2]),
        ids: { dtype: 'i32', shape: [1], data: Int32Array.of(id) },
      });
    await expect(run(7)).rejects.toThrow(/internal: libtorch: aten::embedding: .*range/);
    expect(await run(1)).toEqual({ y: f32([1, 2], [1, 1]) });
    await executor.dispose();
  });

  test('a second run before the first has ended, and one after the end, are refused', async () => {
    const executor = create();
    executor.writeVariable('v', normals([128], 'v'));
    const executable = await executor.compile(smallStep());
    const x = normals([1, 8, 4, 4], 'x');
    const first = executable.run({ x });
    await expect(executable.run({ x })).rejects.toThrow('internal: run while running');
    await first;
    await executable.dispose();
    await expect(executable.run({ x })).rejects.toThrow('internal: run while disposed');
    await executor.dispose();
  });

  test('a device that is not there is named, with those that are', () => {
    expect(() => create({ device: 'cuda:99' })).toThrow(
      /device\.torchDevice: cuda:99 cannot be used by libtorch 2\..* \(.+\); it has: .*cpu/,
    );
  });
});
