/**
 * @file What only an NVIDIA GPU shows: captured graphs beside the same calls one by one, in one pool of
 * memory. `SDL_TORCH_DEVICE=cuda npx vitest run --project gpu`; bench/gpu.sh does so.
 */

import { describe, expect, test, vi } from 'vitest';
import { grad } from '../../src/graph/autodiff/grad.ts';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import { beginRun, type Executor, type PendingRun } from '../../src/runtime/executor.ts';
import { createTorchExecutor } from '../../src/runtime/torch/torch-executor.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { type Shape, sizeOf } from '../../src/tensor/shape.ts';
import { f32 } from '../../src/tensor/tensor.ts';
import { parametersFrom, torchMissing } from '../helpers/executors.ts';

// The first use of a GPU loads kernels and tries them.
vi.setConfig({ testTimeout: 300_000 });

const device = process.env['SDL_TORCH_DEVICE'] ?? '';
const missing =
  torchMissing ?? (device.startsWith('cuda') ? undefined : 'SDL_TORCH_DEVICE is not cuda');
const suite = missing === undefined ? 'captured graphs' : `captured graphs (skipped: ${missing})`;

const normals = (shape: Shape, key: string) => f32(shape, new Rng(5, key).normals(sizeOf(shape)));
const parameters = parametersFrom({
  kernel: normals([64, 64, 3, 3], 'k'),
  scale: normals([64], 's'),
  bias: normals([64], 'b'),
});

/** Convolution, norm and attention of n images, and the update of a factor. */
function smallStep(n: number) {
  const g = new GraphBuilder();
  const x = g.input('x', [n, 64, 16, 16]);
  const scale = g.parameter('scale', [64]);
  const normed = g.groupNorm(x, scale, g.parameter('bias', [64]), 32, 1e-5);
  const image = g.conv2d(g.silu(normed), g.parameter('kernel', [64, 64, 3, 3]), undefined, {
    padding: 1,
  });
  const tokens = g.transpose(g.reshape(image, [n, 64, 256]), [0, 2, 1]);
  const factor = g.reshape(g.variable('v', [64 * 64]), [64, 64]);
  const q = g.linear(tokens, factor);
  const y = g.attention(q, tokens, tokens, { heads: 1, scale: 0.125, causal: false });
  const loss = g.mean(g.square(y), [0, 1, 2]);
  const [gradient] = grad(g, loss, [factor]);
  const next = g.sub(g.variable('v', [64 * 64]), g.scale(g.reshape(gradient!, [64 * 64]), 1e-2));
  return g.build({ loss }, { v: next });
}

const runs = 8;

/** Losses of two graphs in turn, each read one run late. */
async function losses(executor: Executor): Promise<number[]> {
  executor.writeVariable('v', normals([64 * 64], 'v'));
  const executables = [await executor.compile(smallStep(1)), await executor.compile(smallStep(3))];
  const read: number[] = [];
  let begun: PendingRun | undefined;
  const see = async () => {
    if (begun) read.push(Number((await begun.read())['loss']!.data[0]));
  };
  for (let i = 0; i < runs; i++) {
    for (const [j, executable] of executables.entries()) {
      const run = await beginRun(executable, { x: normals([2 * j + 1, 64, 16, 16], `x${i}`) });
      await see();
      begun = run;
    }
  }
  await see();
  for (const executable of executables) await executable.dispose();
  return read;
}

describe.skipIf(missing !== undefined)(suite, () => {
  test.each(['f32', 'bf16'] as const)('%s: the same losses as call by call', async (compute) => {
    const notes: string[] = [];
    const create = (cudaGraphs: boolean) =>
      createTorchExecutor({
        parameters,
        device,
        compute,
        cudaGraphs,
        note: (text) => notes.push(text),
      });
    const [captured, plain] = [create(true), create(false)];
    const expected = await losses(plain);
    // Kernels without a fixed order of sums; a fault would be far off, or not a number.
    const tolerance = { rtol: compute === 'f32' ? 1e-3 : 2e-2, atol: 0 };
    expect(await losses(captured)).toBeAllClose(expected, tolerance);
    // Once more, with graphs and pool made anew after all were given back.
    expect(await losses(captured)).toBeAllClose(expected, tolerance);
    expect(notes).toEqual([]);
    await captured.dispose();
    await plain.dispose();
  });
});
