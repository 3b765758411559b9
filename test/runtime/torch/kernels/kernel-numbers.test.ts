/** @file What kernels of our own compute, run on the processor without libtorch, against the reference in f64. */

import { expect, test } from 'vitest';
import { grad } from '../../../../src/graph/autodiff/grad.ts';
import { GraphBuilder } from '../../../../src/graph/graph-builder.ts';
import type { Node } from '../../../../src/graph/ops.ts';
import { createReferenceExecutor } from '../../../../src/runtime/reference/reference-executor.ts';
import { gegluGradLaunch, gegluLaunch } from '../../../../src/runtime/torch/kernels/geglu.ts';
import {
  groupNormGradLaunch,
  groupNormGradStatisticsLaunch,
  groupNormLaunch,
  groupNormStatisticsLaunch,
  groupNormSums,
} from '../../../../src/runtime/torch/kernels/group-norm.ts';
import { groupNormBlock } from '../../../../src/runtime/torch/kernels/group-norm-blocks.ts';
import type { Launch } from '../../../../src/runtime/torch/kernels/kernel.ts';
import {
  layerNormGradLaunch,
  layerNormLaunch,
} from '../../../../src/runtime/torch/kernels/layer-norm.ts';
import { type Shape, sizeOf } from '../../../../src/tensor/shape.ts';
import { f32 } from '../../../../src/tensor/tensor.ts';
import { noParameters } from '../../../helpers/executors.ts';
import { compilerMissing, hostLauncher } from '../../../helpers/host-kernels.ts';
import { runKernel } from '../../../helpers/host-memory.ts';
import { scattered } from '../../../helpers/scattered.ts';

const epsilon = 1e-5;

type Values = Readonly<Record<string, { readonly shape: Shape; readonly data: Float32Array }>>;

/** y, and the gradient of x where ct is that of y. */
async function exactly(
  values: Values,
  build: (g: GraphBuilder, nodes: Readonly<Record<string, Node>>) => Node,
): Promise<{ readonly y: Float64Array; readonly dx: Float64Array }> {
  const g = new GraphBuilder();
  const entries = Object.entries(values);
  const nodes = Object.fromEntries(
    entries.map(([name, { shape }]) => [name, g.input(name, shape)]),
  );
  const y = build(g, nodes);
  const [dx] = grad(g, g.sum(g.mul(y, nodes['ct']!), [...y.shape.keys()]), [nodes['x']!]);
  const executor = createReferenceExecutor({ parameters: noParameters, precision: 'f64' });
  const executable = await executor.compile(g.build({ y, dx: dx! }));
  const feeds = entries.map(([name, { shape, data }]) => [name, f32(shape, data)] as const);
  const out = await executable.run(Object.fromEntries(feeds));
  await executor.dispose();
  return {
    y: out['y']!.data as unknown as Float64Array,
    dx: out['dx']!.data as unknown as Float64Array,
  };
}

function expectClose(actual: Float32Array, expected: Float64Array): void {
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const worst = expected.reduce(
    (most, value, i) => Math.max(most, Math.abs(value - actual[i]!)),
    0,
  );
  // Sums of some hundred f32.
  expect(worst / largest).toBeLessThan(3e-6);
}

/** [n, c, pixels] as [n, pixels, c], and back with the sizes exchanged. */
function turned<A extends Float32Array | Float64Array>(
  values: A,
  [n, c, pixels]: readonly [number, number, number],
): A {
  const out = values.slice() as A;
  for (let i = 0; i < n; i++)
    for (let j = 0; j < c; j++)
      for (let k = 0; k < pixels; k++)
        out[(i * pixels + k) * c + j] = values[(i * c + j) * pixels + k]!;
  return out;
}

/** Skipped with the reason in its name where kernels cannot be run. */
const kernelTest = (name: string, run: () => Promise<void>) =>
  test.skipIf(compilerMissing !== undefined)(
    compilerMissing === undefined ? name : `${name} (skipped: ${compilerMissing})`,
    run,
  );
const launcher = compilerMissing === undefined ? hostLauncher() : undefined;
const run = (...args: Parameters<typeof runKernel> extends [unknown, ...infer R] ? R : never) =>
  runKernel(launcher!, ...args);

kernelTest('GEGLU', async () => {
  const [rows, columns] = [7, 24];
  const x = { shape: [rows, 2 * columns], data: scattered(2 * rows * columns, 1) };
  const ct = { shape: [rows, columns], data: scattered(rows * columns, 2) };
  const expected = await exactly({ x, ct }, (g, nodes) => {
    const half = (i: number) => g.sliceAxis(nodes['x']!, 1, i * columns, (i + 1) * columns);
    return g.mul(half(0), g.gelu(half(1)));
  });
  const [y] = run(gegluLaunch('f32', rows, columns), [x.data], [rows * columns]);
  expectClose(y!, expected.y);
  const sizes = [2 * rows * columns, rows * columns];
  const launch = gegluGradLaunch('f32', rows, columns, { again: true });
  const [dx, again] = run(launch, [x.data, ct.data], sizes);
  expectClose(dx!, expected.dx);
  expect(again).toEqual(y);
});

kernelTest('layer norm of a sum, and its gradient with a rest', async () => {
  const [rows, channels] = [6, 200];
  const size = rows * channels;
  const shape = [rows, channels];
  const x = { shape, data: scattered(size, 1, 3) };
  const other = { shape, data: scattered(size, 2) };
  const scale = { shape: [channels], data: scattered(channels, 3, 1) };
  const bias = { shape: [channels], data: scattered(channels, 4) };
  const ct = { shape, data: scattered(size, 5) };
  const rest = scattered(size, 6);
  const expected = await exactly({ x, other, scale, bias, ct }, (g, nodes) =>
    g.layerNorm(g.add(nodes['x']!, nodes['other']!), nodes['scale']!, nodes['bias']!, epsilon),
  );
  const [total, y, means, rstds] = run(
    layerNormLaunch('f32', [rows, channels], epsilon, { sums: true }),
    [x.data, other.data, scale.data, bias.data],
    [size, size, rows, rows],
  ) as [Float32Array, Float32Array, Float32Array, Float32Array];
  expect(total).toEqual(x.data.map((value, i) => value + other.data[i]!));
  expectClose(y, expected.y);
  const [dx, again] = run(
    layerNormGradLaunch('f32', [rows, channels], { adds: true, again: true }),
    [total, ct.data, rest, scale.data, bias.data, means, rstds],
    [size, size],
  );
  expectClose(
    dx!,
    expected.dx.map((value, i) => value + rest[i]!),
  );
  expectClose(again!, expected.y);
});

/** The same work by one block for each slice of an image's channels, whose threads have many pixels each. */
function inOnePart(launch: Launch, slices: number): Launch {
  const { grid, scalars } = launch;
  const at = scalars.findIndex((scalar) => 'i32' in scalar);
  const [pixels, , ...parts] = scalars.slice(at);
  const whole = [pixels!, pixels!, ...parts.map(() => ({ i32: 1 }))];
  return { ...launch, grid: [slices, grid[1]], scalars: [...scalars.slice(0, at), ...whole] };
}

async function checkGroupNorm(
  [height, width]: readonly [number, number],
  divided: (launch: Launch, slices: number) => Launch,
): Promise<void> {
  const [images, channels] = [2, 64];
  const pixels = height * width;
  const group = { images, channels, pixels, groups: 32 };
  const size = images * channels * pixels;
  const shape = [images, channels, height, width];
  const x = { shape, data: scattered(size, 1, 8) };
  const other = { shape, data: scattered(size, 2) };
  const shift = { shape: [1, channels, 1, 1], data: scattered(channels, 3) };
  const scale = { shape: [channels], data: scattered(channels, 4, 1) };
  const bias = { shape: [channels], data: scattered(channels, 5) };
  const ct = { shape, data: scattered(size, 6) };
  const expected = await exactly({ x, other, shift, scale, bias, ct }, (g, nodes) => {
    const sum = g.add(g.add(nodes['x']!, nodes['other']!), nodes['shift']!);
    return g.silu(g.groupNorm(sum, nodes['scale']!, nodes['bias']!, 32, epsilon));
  });
  const { slice } = groupNormBlock('f32', group);
  const runDivided = (
    launch: Launch,
    ...rest: Parameters<typeof run> extends [unknown, ...infer R] ? R : never
  ) => run(divided(launch, channels / slice), ...rest);
  const last = (values: Float32Array) => turned(values, [images, channels, pixels]);
  const terms = { image: true, perImage: false, perChannel: true };
  const parts = groupNormSums('f32', group);
  const [total, sums] = runDivided(
    groupNormStatisticsLaunch('f32', group, terms),
    [last(x.data), last(other.data), shift.data],
    [size, parts],
  ) as [Float32Array, Float32Array];
  const groups = images * group.groups;
  const [y, means, rstds] = runDivided(
    groupNormLaunch('f32', group, epsilon, { silu: true }),
    [total, sums, scale.data, bias.data],
    [size, groups, groups],
  ) as [Float32Array, Float32Array, Float32Array];
  const first = (values: Float32Array) => turned(values, [images, pixels, channels]);
  expect(sizeOf(shape)).toBe(y.length);
  expectClose(first(y), expected.y);
  const inputs = [total, last(ct.data), scale.data, bias.data, means, rstds];
  const [gradientSums] = runDivided(
    groupNormGradStatisticsLaunch('f32', group, { silu: true }),
    inputs,
    [parts],
  );
  const rest = scattered(size, 7);
  const [dx] = runDivided(
    groupNormGradLaunch('f32', group, { silu: true, adds: true }),
    [...inputs, gradientSums!, last(rest)],
    [size],
  );
  expectClose(
    first(dx!),
    expected.dx.map((value, i) => value + rest[i]!),
  );
}

const groupNormName = 'group norm with SiLU of a sum of two images and a bias, and its gradient';
kernelTest(groupNormName, () => checkGroupNorm([5, 7], (launch) => launch));
kernelTest(`${groupNormName}, in many parts`, () => checkGroupNorm([13, 17], (launch) => launch));
kernelTest(`${groupNormName}, in one part`, () => checkGroupNorm([13, 17], inOnePart));
