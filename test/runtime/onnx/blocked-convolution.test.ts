/** @file Convolutions of channels in blocks: the same values, whatever the layout of their kernels. */

import { describe, expect, test } from 'vitest';
import { grad } from '../../../src/graph/autodiff/grad.ts';
import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import type { Executor } from '../../../src/runtime/executor.ts';
import { arrangeKernel } from '../../../src/runtime/onnx/arrange-kernel.ts';
import { findConvBlock } from '../../../src/runtime/onnx/find-conv-block.ts';
import { lowerGraph } from '../../../src/runtime/onnx/lower-graph.ts';
import { createOnnxExecutor } from '../../../src/runtime/onnx/onnx-executor.ts';
import { createReferenceExecutor } from '../../../src/runtime/reference/reference-executor.ts';
import { Rng } from '../../../src/tensor/rng.ts';
import { f32 } from '../../../src/tensor/tensor.ts';
import { parametersFrom } from '../../helpers/executors.ts';

const rng = new Rng(0, 'blocked convolution');
const [out, channels] = [16, 32];
const parameters = parametersFrom({
  kernel: f32([out, channels, 3, 3], rng.normals(out * channels * 9)),
  bias: f32([out], rng.normals(out)),
});

interface Window {
  readonly stride?: number;
  readonly padding?: number | readonly [number, number, number, number];
}

/** A convolution and the gradient of its input, for images of 7 by 6. */
function convolutionGraph(window: Window) {
  const g = new GraphBuilder();
  const x = g.input('x', [2, channels, 7, 6]);
  const y = g.conv2d(x, g.parameter('kernel', [out, channels, 3, 3]), g.parameter('bias', [out]), {
    ...window,
  });
  const loss = g.reshape(g.sum(g.square(y), [0, 1, 2, 3]), [1]);
  return g.build({ y, dx: grad(g, loss, [x])[0]! });
}

async function valuesOf(executor: Executor, window: Window) {
  const executable = await executor.compile(convolutionGraph(window));
  const x = f32([2, channels, 7, 6], new Rng(1, 'x').normals(2 * channels * 42));
  const values = await executable.run({ x });
  await executor.dispose();
  return values;
}

describe.each([
  ['padded evenly', { padding: 1 }],
  ['not padded', {}],
  ['padded unevenly', { padding: [0, 2, 1, 0] as const }],
  ['in strides', { stride: 2, padding: 1 }],
] as const)('%s', (_, window) => {
  test.each([true, false])('equals the reference with flipWeights %s', async (flipWeights) => {
    const expected = await valuesOf(
      createReferenceExecutor({ parameters, precision: 'f64' }),
      window,
    );
    const found = await valuesOf(
      createOnnxExecutor({ parameters, threads: 1, flipWeights }),
      window,
    );
    for (const name of ['y', 'dx']) {
      const values = expected[name]!.data as Float32Array;
      const max = values.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
      expect(max).toBeGreaterThan(1);
      // Sums of 288 products, in f32.
      expect(found[name]!.data as Float32Array).toBeAllClose(values, { rtol: 0, atol: 1e-6 * max });
    }
  });
});

test('feeds each kernel only in the layouts that are read', () => {
  const feedsOf = (window: Window, convBlock: number, flipWeights = true) =>
    lowerGraph(convolutionGraph(window), { flipWeights, convBlock }).inputs.flatMap(
      ({ key, name }) => (key === 'kernel' ? [name] : []),
    );
  expect(feedsOf({ padding: 1 }, 16)).toEqual(['straight16/kernel', 'flipped16/kernel']);
  expect(feedsOf({ padding: 1 }, 1)).toEqual(['parameter/kernel', 'flipped1/kernel']);
  expect(feedsOf({ padding: 1 }, 1, false)).toEqual(['parameter/kernel']);
  // ConvTranspose needs the plain kernel, so there is no other.
  expect(feedsOf({ stride: 2, padding: 1 }, 16)).toEqual(['parameter/kernel']);
  // 16 channels are not a multiple.
  expect(feedsOf({ padding: 1 }, 32)).toEqual(['parameter/kernel', 'flipped1/kernel']);
});

test('arranges kernels', () => {
  // [out 2, in 2, 1, 2]: value = 100·out + 10·in + tap.
  const weight = Float32Array.of(0, 1, 10, 11, 100, 101, 110, 111);
  const arranged = (flipped: boolean, block: number) => [
    ...arrangeKernel(weight, [2, 2, 1, 2], { flipped, block }),
  ];
  expect(arranged(false, 1)).toEqual([...weight]);
  // Rows become inputs, and taps run backward.
  expect(arranged(true, 1)).toEqual([1, 0, 101, 100, 11, 10, 111, 110]);
  // Taps, then inputs, then outputs inside a block.
  expect(arranged(false, 2)).toEqual([0, 100, 10, 110, 1, 101, 11, 111]);
  expect(arranged(true, 2)).toEqual([1, 11, 101, 111, 0, 10, 100, 110]);
});

test('finds a block that suits the processor, or none', async () => {
  expect([1, 8, 16]).toContain(await findConvBlock());
});
