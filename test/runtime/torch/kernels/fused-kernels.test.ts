/** @file Kernels of our own, run on the processor, against the same graphs without them. */

import { describe, expect, test } from 'vitest';
import { grad } from '../../../../src/graph/autodiff/grad.ts';
import { GraphBuilder } from '../../../../src/graph/graph-builder.ts';
import type { Graph, Node } from '../../../../src/graph/ops.ts';
import type { Precision } from '../../../../src/runtime/executor.ts';
import { createTorchExecutor } from '../../../../src/runtime/torch/torch-executor.ts';
import { type Shape, sizeOf } from '../../../../src/tensor/shape.ts';
import { f32 } from '../../../../src/tensor/tensor.ts';
import { noParameters, torchMissing } from '../../../helpers/executors.ts';
import { compilerMissing, hostLauncher } from '../../../helpers/host-kernels.ts';
import { scattered } from '../../../helpers/scattered.ts';

const missing = torchMissing ?? compilerMissing;
const suite = missing === undefined ? 'own kernels' : `own kernels (skipped: ${missing})`;

interface Case {
  readonly name: string;
  /** Kernels that take part, the first launches in order. */
  readonly entries: readonly string[];
  readonly inputs: Readonly<Record<string, { readonly shape: Shape; readonly offset?: number }>>;
  readonly build: (g: GraphBuilder, input: Readonly<Record<string, Node>>) => Record<string, Node>;
}

const gradientOf = (g: GraphBuilder, y: Node, ct: Node, ...of: Node[]) =>
  grad(g, g.sum(g.mul(y, ct), [...y.shape.keys()]), of);

const geglu = (columns: number): Case => ({
  name: `GEGLU of ${columns} columns`,
  entries: ['geglu', 'gegluGrad'],
  inputs: { p: { shape: [2, 5, 2 * columns] }, ct: { shape: [2, 5, columns] } },
  build: (g, { p, ct }) => {
    const half = (i: number) => g.sliceAxis(p!, 2, i * columns, (i + 1) * columns);
    const y = g.mul(half(0), g.gelu(half(1)));
    const [dp] = gradientOf(g, y, ct!, p!);
    return { y, dp: dp! };
  },
});

const layerNorm = (channels: number, sums: boolean): Case => ({
  name: `layer norm of ${channels} channels${sums ? ', of a sum' : ''}`,
  entries: ['layerNorm', 'layerNormGrad'],
  inputs: {
    x: { shape: [2, 3, channels], offset: 3 },
    other: { shape: [2, 3, channels] },
    scale: { shape: [channels], offset: 1 },
    bias: { shape: [channels] },
    ct: { shape: [2, 3, channels] },
  },
  build: (g, { x, other, scale, bias, ct }) => {
    const s = sums ? g.add(x!, other!) : x!;
    const normed = g.layerNorm(s, scale!, bias!, 1e-5);
    // The sum goes on beside the norm, so that its gradient is a sum too.
    const y = sums ? g.add(normed, g.mul(s, other!)) : normed;
    const [dx] = gradientOf(g, y, ct!, x!);
    return { y, dx: dx! };
  },
});

const groupNorm = (channels: number, side: number, silu: boolean, adds: boolean): Case => ({
  name: `group norm of ${channels} channels, ${side}²${silu ? ', SiLU' : ''}${adds ? ', residual' : ''}`,
  entries: ['groupNormStatistics', 'groupNorm', 'groupNormGradStatistics', 'groupNormGrad'],
  inputs: {
    x: { shape: [2, channels, side, side + 1], offset: 5 },
    scale: { shape: [channels], offset: 1 },
    bias: { shape: [channels] },
    ct: { shape: [2, channels, side, side + 1] },
  },
  build: (g, { x, scale, bias, ct }) => {
    const normed = g.groupNorm(x!, scale!, bias!, 32, 1e-5);
    const activated = silu ? g.silu(normed) : normed;
    const y = adds ? g.add(activated, g.mul(x!, x!)) : activated;
    const [dx] = gradientOf(g, y, ct!, x!);
    return { y, dx: dx! };
  },
});

/** As in a residual block: a sum with one value for each channel, and with the block's input. */
const residual = (channels: number, side: number): Case => ({
  name: `residual block of ${channels} channels, ${side}²`,
  entries: ['groupNormStatistics', 'groupNorm', 'groupNormGradStatistics', 'groupNormGrad'],
  inputs: {
    x: { shape: [2, channels, side, side], offset: 1 },
    time: { shape: [2, channels, 1, 1], offset: 2 },
    kernel: { shape: [channels, channels, 1, 1] },
    scale: { shape: [channels], offset: 1 },
    bias: { shape: [channels], offset: 1 },
    ct: { shape: [2, channels, side, side] },
  },
  build: (g, { x, time, kernel, scale, bias, ct }) => {
    const small = g.scale(kernel!, 1 / channels);
    const norm = (image: Node) => g.silu(g.groupNorm(image, scale!, bias!, 32, 1e-5));
    const inner = g.add(g.conv2d(norm(x!), small), time!);
    const image = g.add(x!, g.conv2d(norm(inner), small, bias));
    const y = g.add(norm(image), image);
    const [dx] = gradientOf(g, y, ct!, x!);
    return { y, dx: dx! };
  },
});

const cases: readonly Case[] = [
  geglu(8),
  geglu(1280),
  layerNorm(40, false),
  layerNorm(320, true),
  layerNorm(1280, true),
  groupNorm(64, 3, true, false),
  groupNorm(320, 20, true, true),
  groupNorm(320, 4, false, true),
  groupNorm(1280, 3, true, true),
  groupNorm(2560, 2, true, false),
  residual(64, 5),
];

const launcher = missing === undefined ? hostLauncher() : undefined;

async function outputsOf(graph: Graph, { inputs }: Case, compute: Precision, own: boolean) {
  const executor = createTorchExecutor({
    parameters: noParameters,
    device: 'cpu',
    compute,
    threads: 1,
    ...(own && launcher ? { launcher } : {}),
  });
  try {
    const executable = await executor.compile(graph);
    const feeds = Object.entries(inputs).map(
      ([name, { shape, offset }], i) =>
        [name, f32(shape, scattered(sizeOf(shape), i, offset))] as const,
    );
    // Twice: what the first run left behind must not matter.
    await executable.run(Object.fromEntries(feeds));
    return await executable.run(Object.fromEntries(feeds));
  } finally {
    await executor.dispose();
  }
}

/** Root of summed squares of the differences, relative to that of the values. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [size, difference] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    size += b[i]! ** 2;
    difference += (a[i]! - b[i]!) ** 2;
  }
  return Math.sqrt(difference / size);
}

/** Rounding of f32 some times over; of results of 16 bits against those in f32, their own. */
const tolerances = { f32: 2e-6, bf16: 1e-2, f16: 1.2e-3 } as const;

describe.skipIf(missing !== undefined)(suite, () => {
  test.each(cases)('$name', async (each) => {
    const g = new GraphBuilder();
    const nodes = Object.entries(each.inputs).map(
      ([name, { shape }]) => [name, g.input(name, shape)] as const,
    );
    const graph = g.build(each.build(g, Object.fromEntries(nodes)));
    const expected = await outputsOf(graph, each, 'f32', false);
    for (const compute of ['f32', 'bf16', 'f16'] as const) {
      launcher!.entries.length = 0;
      const actual = await outputsOf(graph, each, compute, true);
      expect(new Set(launcher!.entries)).toEqual(new Set(each.entries));
      for (const [name, { data }] of Object.entries(expected)) {
        const error = distance(actual[name]!.data as Float32Array, data as Float32Array);
        expect(error, `${name} in ${compute}`).toBeLessThan(tolerances[compute]);
      }
    }
  });
});
