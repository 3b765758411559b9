/** @file The fastest way that fits a budget. */

import { expect, test, vi } from 'vitest';
import { UserError } from '../../src/tensor/user-error.ts';
import { memoryBudget } from '../../src/train/memory-budget.ts';
import {
  estimateWay,
  type PlanRequest,
  planAsConfigured,
  planMemory,
} from '../../src/train/memory-plan.ts';
import { partSizes, stepShapes } from '../../src/train/step-shapes.ts';
import { arrayMemory } from './array-memory.ts';
import { tinyLayouts, tinyModel } from './tiny-training.ts';

// Graphs are lowered without being run; on a busy machine that takes a while.
vi.setConfig({ testTimeout: 60_000 });

const samples = [
  { bucket: { width: 256, height: 256 }, repeats: 4, prior: false },
  { bucket: { width: 256, height: 128 }, repeats: 2, prior: false },
];

function request(gradientCheckpointing = false): PlanRequest {
  const batchSize = 4;
  return {
    model: tinyModel,
    layouts: tinyLayouts({ unet: true, textEncoder: false }),
    shapesOf: (microBatch) =>
      stepShapes(samples, { batchSize, microBatch, chunks: [1], trainsText: false }),
    batchSize,
    gradientCheckpointing,
    clipSkip: 1,
    memory: arrayMemory,
    weights: { half: () => ({ type: 'f16', read: () => new Uint16Array() }) },
  };
}

const bytesOf = (
  gradientCheckpointing: boolean,
  microBatch: number,
  { keepsGraphs = true, halfWeights = false } = {},
) => estimateWay(request(), { gradientCheckpointing, microBatch, halfWeights, keepsGraphs }).total;

test('as much as is needed is given up, the least costly first', () => {
  const plans = [
    bytesOf(false, 4),
    bytesOf(false, 4) - 1,
    bytesOf(false, 1),
    bytesOf(false, 1) - 1,
  ].map((budget) => {
    const plan = planMemory(request(), budget, 'so much');
    expect(plan.estimate.total).toBeLessThanOrEqual(budget);
    return [plan.gradientCheckpointing, plan.microBatch];
  });
  expect(plans.slice(0, 3)).toEqual([
    [false, 4],
    [false, 2],
    [false, 1],
  ]);
  expect(plans[3]![0]).toBe(true);
});

test('weights in 16 bits come after checkpointing, where they are stored so', () => {
  const least = Math.min(bytesOf(false, 1), bytesOf(true, 1));
  expect(planMemory(request(), least, 'so much').halfWeights).toBe(false);
  const plan = planMemory(request(), least - 1, 'so much');
  expect([plan.gradientCheckpointing, plan.halfWeights]).toEqual([true, true]);
  const floats = { ...request(), weights: { half: () => undefined } };
  expect(planMemory(floats, least - 1, 'so much').halfWeights).toBe(false);
});

test('graphs are kept unless nothing else will do', () => {
  const least = Math.min(bytesOf(false, 1), bytesOf(true, 1, { halfWeights: true }));
  expect(planMemory(request(), least, 'so much').keepsGraphs).toBe(true);
  expect(planMemory(request(), least - 1, 'so much').keepsGraphs).toBe(false);
});

test('checkpointing that is asked for stays', () => {
  const plan = planMemory(request(true), 1e12, 'so much');
  expect([plan.gradientCheckpointing, plan.microBatch]).toEqual([true, 4]);
  expect(planAsConfigured(request(true)).estimate.total).toBe(bytesOf(true, 4));
});

test('previews are counted: beside steps whose graphs stay, or in their place', () => {
  const way = {
    gradientCheckpointing: false,
    microBatch: 1,
    halfWeights: false,
    keepsGraphs: true,
  };
  const drawn = { width: 256, height: 256, chunks: [1], amidSteps: true };
  const of = (previews: PlanRequest['previews'], keepsGraphs = true) =>
    estimateWay({ ...request(), previews: previews ?? null }, { ...way, keepsGraphs });
  const none = of(null);
  expect(none.previews).toBe(0);
  const beside = of(drawn);
  expect(beside.total).toBe(none.total + beside.previews);
  expect(of({ ...drawn, width: 512 }).previews).toBeGreaterThan(1.5 * beside.previews);
  // A second length of prompts is a second graph of the UNet; the decoder may still be the larger part.
  expect(of({ ...drawn, chunks: [1, 2, 3] }).previews).toBeGreaterThanOrEqual(beside.previews);
  // Drawn before and after the steps, or with their graphs given back: only what is more counts.
  for (const instead of [of({ ...drawn, amidSteps: false }), of(drawn, false)]) {
    expect(instead.previews).toBeLessThan(beside.previews);
    expect(instead.previews).toBeGreaterThan(0);
  }
  const refuse = () => planMemory({ ...request(), previews: drawn }, 1e6, 'it is 1MB');
  expect(refuse).toThrow(/previews \d+ MB.*set preview\.width and preview\.height below 256×256/);
});

test('what cannot fit is refused with the figures', () => {
  const refuse = () => planMemory(request(), 1e6, 'it is 1MB');
  expect(refuse).toThrow(UserError);
  expect(refuse).toThrow(
    /device\.memory: it is 1MB, and the least .* about \d+ MB, with gradient checkpointing, 1 × 256×256 at once \(weights .*lower data\.resolution/,
  );
});

test('batches in parts, and the shapes that they have', () => {
  expect(partSizes(5, 2)).toEqual([2, 2, 1]);
  const shapes = request().shapesOf(3);
  expect(shapes.map(({ batch, height }) => `${batch} ${height}`).toSorted()).toEqual([
    '1 32',
    '2 16',
    '3 32',
  ]);
});

test('sizes are read in both systems; auto is what is free', () => {
  expect(memoryBudget('8GB', false).bytes).toBe(8e9);
  expect(memoryBudget('7.5 GiB', false).bytes).toBe(7.5 * 2 ** 30);
  expect(memoryBudget('auto', false).bytes).toBeGreaterThan(1e8);
  expect(() => memoryBudget('auto', true)).toThrow("give the GPU's, such as 8GB");
});
