/** @file The loss against sums written out. */

import { expect, test } from 'vitest';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import { createReferenceExecutor } from '../../src/runtime/reference/reference-executor.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { f32 } from '../../src/tensor/tensor.ts';
import { diffusionLoss, lossInputs, lossTarget, noisyLatents } from '../../src/train/loss.ts';
import { coefficientTensors, stableDiffusionSchedule } from '../../src/train/noise-schedule.ts';

const shape = [2, 4, 3, 5];
const perSample = 60;
const schedule = stableDiffusionSchedule();
const draw = (purpose: string) => new Rng(1, purpose).normals(2 * perSample);
const feeds = {
  latents: f32(shape, draw('latents')),
  noise: f32(shape, draw('noise')),
  weight: f32([2], [1, 0.25]),
  ...coefficientTensors(schedule, [10, 800]),
};

async function run(predictionType: 'epsilon' | 'v_prediction') {
  const g = new GraphBuilder();
  const inputs = lossInputs(g, shape);
  const noisy = noisyLatents(g, inputs);
  const target = lossTarget(g, inputs, predictionType);
  // Half of what it sees stands for the network's prediction.
  const prediction = g.scale(noisy, 0.5);
  const { loss, perSample } = diffusionLoss(g, prediction, target, inputs.weight);
  const executor = createReferenceExecutor({
    parameters: { read: () => new Float32Array(0) },
    precision: 'f32',
  });
  const graph = g.build({ noisy, target, loss, perSample });
  return (await executor.compile(graph)).run(feeds);
}

test.each(['epsilon', 'v_prediction'] as const)('%s', async (predictionType) => {
  const { noisy, target, loss, perSample: errors } = await run(predictionType);
  const { latents, noise, sqrtAlpha, sqrtOneMinusAlpha } = feeds;
  const expected = [0, 0];
  for (let i = 0; i < 2 * perSample; i++) {
    const sample = Math.floor(i / perSample);
    const [a, s] = [sqrtAlpha.data[sample]!, sqrtOneMinusAlpha.data[sample]!];
    const [x0, e] = [latents.data[i]!, noise.data[i]!];
    const xt = a * x0 + s * e;
    const goal = predictionType === 'epsilon' ? e : a * e - s * x0;
    expect(noisy!.data[i]).toBeCloseTo(xt, 5);
    expect(target!.data[i]).toBeCloseTo(goal, 5);
    expected[sample]! += (0.5 * xt - goal) ** 2 / perSample;
  }
  expect(errors!.shape).toEqual([2]);
  expect(errors!.data as Float32Array).toBeAllClose(expected, { rtol: 1e-6 });
  expect(loss!.data[0]).toBeCloseTo((expected[0]! + 0.25 * expected[1]!) / 2, 6);
});
