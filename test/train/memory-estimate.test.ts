/** @file The memory of a run, from shapes alone. */

import { expect, test } from 'vitest';
import { loraLayout } from '../../src/lora/lora-layout.ts';
import { targetModules } from '../../src/lora/target-modules.ts';
import { sd1 } from '../../src/models/sd1/family.ts';
import { sd1TensorShapes } from '../../src/models/sd1/tensor-shapes.ts';
import { sizeOf } from '../../src/tensor/shape.ts';
import { estimateMemory } from '../../src/train/memory-estimate.ts';
import { tinySizes } from '../cli/tiny-run.ts';
import { arrayMemory } from './array-memory.ts';

const shapes = sd1TensorShapes(tinySizes);
const model = { family: sd1, shapes, predictionType: 'epsilon' } as const;
const modules = targetModules(model);
const layouts = (['unet', 'text_encoder'] as const).map((group) =>
  loraLayout(group, modules, { rank: 4 }),
);
const estimate = (
  sides: readonly number[],
  gradientCheckpointing = false,
  text = true,
  keepsGraphs = true,
  halfWeights = false,
) =>
  estimateMemory(
    model,
    text ? layouts : [layouts[0]!],
    sides.map((side) => ({
      batch: 1,
      height: side,
      width: side,
      text: text ? { chunks: 1 } : { tokens: 77 },
    })),
    {
      clipSkip: 1,
      gradientCheckpointing,
      flipWeights: !gradientCheckpointing,
      halfWeights,
      keepsGraphs,
    },
    arrayMemory,
    { half: () => ({ type: 'f16', read: () => new Uint16Array() }) },
  );

test('weights are those of the networks that are trained through, without the VAE', () => {
  const bytesOf = (network: string) =>
    [...shapes].reduce((n, [name, s]) => n + (name.startsWith(network) ? 4 * sizeOf(s) : 0), 0);
  expect(estimate([8], true).weights).toBe(bytesOf('unet.') + bytesOf('text_encoder.'));
  expect(estimate([8], true, false).weights).toBe(bytesOf('unet.'));
});

test('without flipped kernels weights are fewer; larger pictures need more', () => {
  const [plain, less, large] = [estimate([16]), estimate([16], true), estimate([32])];
  expect(less.weights).toBeLessThan(plain.weights);
  expect(large.activations).toBeGreaterThan(2.5 * plain.activations);
  expect(plain.total).toBe(plain.weights + plain.adapter + plain.activations + plain.program);
});

test('each shape keeps buffers of its own, unless the engine shares them', () => {
  const [one, two] = [estimate([16]), estimate([16, 8])];
  expect(two.activations).toBe(Math.round(1.25 * one.activations));
  expect(estimate([16, 8], false, true, false).activations).toBe(one.activations);
});

test('factors, gradient and moments are held as often as the engine does', () => {
  const factors = layouts.reduce((sum, { size }) => sum + size, 0);
  expect(estimate([8]).adapter).toBe(4 * 2 * 4 * factors);
});
