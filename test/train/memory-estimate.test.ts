/** @file The memory of a step: what is alive at once. */

import { describe, expect, test } from 'vitest';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Node } from '../../src/graph/ops.ts';
import { loraLayout } from '../../src/lora/lora-layout.ts';
import { targetModules } from '../../src/lora/target-modules.ts';
import { sd1 } from '../../src/models/sd1/family.ts';
import { sd1TensorShapes } from '../../src/models/sd1/tensor-shapes.ts';
import { sizeOf } from '../../src/tensor/shape.ts';
import { estimateMemory, peakActivationBytes } from '../../src/train/memory-estimate.ts';
import { tinySizes } from '../cli/tiny-run.ts';

describe('peakActivationBytes', () => {
  test('a chain holds two values at a time, and leaves are free', () => {
    const g = new GraphBuilder();
    let x: Node = g.input('x', [100]);
    for (let i = 0; i < 10; i++) x = g.exp(x);
    expect(peakActivationBytes(g.build({ x }))).toBe(2 * 400);
  });

  test('values wait for their last reader; a view has no bytes of its own', () => {
    const g = new GraphBuilder();
    const x = g.input('x', [100]);
    const a = g.exp(x);
    const b = g.reshape(a, [10, 10]);
    const c = g.exp(b);
    const d = g.exp(c);
    // a is read again through its view at the end: a, c and d, then a, d and the sum.
    const out = g.add(d, b);
    expect(peakActivationBytes(g.build({ out }))).toBe(3 * 400);
  });

  test('outputs stay to the end', () => {
    const g = new GraphBuilder();
    const x = g.input('x', [100]);
    const [a, b] = [g.exp(x), g.sqrt(x)];
    expect(peakActivationBytes(g.build({ a, b, c: g.silu(x) }))).toBe(3 * 400);
  });
});

describe('estimateMemory', () => {
  const shapes = sd1TensorShapes(tinySizes);
  const model = { family: sd1, shapes, predictionType: 'epsilon' } as const;
  const modules = targetModules(model);
  const layouts = (['unet', 'text_encoder'] as const).map((group) =>
    loraLayout(group, modules, { rank: 4 }),
  );
  const estimate = (side: number, gradientCheckpointing = false, text = true) =>
    estimateMemory(
      model,
      text ? layouts : [layouts[0]!],
      { batch: 1, height: side, width: side, text: text ? { chunks: 1 } : { tokens: 77 } },
      { clipSkip: 1, gradientCheckpointing, flipWeights: !gradientCheckpointing },
    );

  test('weights are those of the networks that are trained through, without the VAE', () => {
    const bytesOf = (network: string) =>
      [...shapes].reduce((n, [name, s]) => n + (name.startsWith(network) ? 4 * sizeOf(s) : 0), 0);
    expect(estimate(8).weights).toBe(bytesOf('unet.') + bytesOf('text_encoder.'));
    expect(estimate(8, false, false).weights).toBe(bytesOf('unet.'));
  });

  test('recomputation takes fewer activations and no flipped kernels; larger pictures take more', () => {
    const [plain, less, large] = [estimate(16), estimate(16, true), estimate(32)];
    expect(less.activations).toBeLessThan(0.8 * plain.activations);
    expect([less.flippedKernels, plain.flippedKernels > 0]).toEqual([0, true]);
    expect(large.activations).toBeGreaterThan(2.5 * plain.activations);
    expect(plain.total).toBe(
      plain.weights + plain.flippedKernels + plain.adapter + plain.activations + plain.program,
    );
  });
});
