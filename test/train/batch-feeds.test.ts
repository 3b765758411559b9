/** @file What a step is fed. */

import { expect, test } from 'vitest';
import type { BatchItem } from '../../src/data/batch-plan.ts';
import { timestepEmbedding } from '../../src/models/timestep-embedding.ts';
import { latentScale } from '../../src/models/vae.ts';
import { f32, type Tensor } from '../../src/tensor/tensor.ts';
import { batchFeeds, type NoiseOptions } from '../../src/train/batch-feeds.ts';
import { minSnrWeight, stableDiffusionSchedule } from '../../src/train/noise-schedule.ts';

const schedule = stableDiffusionSchedule();
const options: NoiseOptions = {
  seed: 3,
  schedule,
  predictionType: 'epsilon',
  minTimestep: 0,
  maxTimestep: 1000,
  minSnrGamma: null,
  debiasedEstimation: false,
  noiseOffset: 0,
  priorLossWeight: 1,
  latentScale,
  conditions: (timesteps) => ({ timeProj: timestepEmbedding(timesteps, 8) }),
};
const area = 6;
// Mean 2 in all channels; the deviation is exp(-30 / 2), so that the draw does not show.
const moments = f32([8, 2, 3], [...Array(4 * area).fill(2), ...Array(4 * area).fill(-30)]);
const visit = (position: number, more: Partial<BatchItem> = {}): BatchItem => ({
  sample: 0,
  prior: false,
  flip: false,
  epoch: 0,
  position,
  ...more,
});
const feeds = (items: readonly BatchItem[], changes: Partial<NoiseOptions> = {}) =>
  batchFeeds({ bucket: { width: 24, height: 16 }, items }, () => moments, {
    ...options,
    ...changes,
  }) as Readonly<Record<string, Tensor<'f32'>>>;
const numbersOf = ({ data }: Tensor) => Array.from(data, Number);
const halves = (tensor: Tensor) => {
  const all = numbersOf(tensor);
  return [all.slice(0, all.length / 2), all.slice(all.length / 2)] as const;
};

test('latents are scaled samples of the moments, in the shape of the bucket', () => {
  const { latents, noise } = feeds([visit(0), visit(1)]);
  expect([latents!.shape, noise!.shape]).toEqual([
    [2, 4, 2, 3],
    [2, 4, 2, 3],
  ]);
  expect(numbersOf(latents!)).toBeAllClose(Array(48).fill(2 * latentScale), { rtol: 1e-5 });
});

test('a visit has its own draws, whatever it is batched with', () => {
  const { noise, timeProj } = feeds([visit(0), visit(1)]);
  const [first, second] = halves(noise!);
  expect(first).not.toEqual(second);
  const alone = feeds([visit(1)]);
  expect(numbersOf(alone['noise']!)).toEqual(second);
  expect(numbersOf(alone['timeProj']!)).toEqual(halves(timeProj!)[1]);
  expect(feeds([visit(1, { epoch: 1 })])['noise']).not.toEqual(alone['noise']);
  expect(feeds([visit(1)], { seed: 4 })['noise']).not.toEqual(alone['noise']);
});

test('timesteps stay within their bounds; coefficients and weights are theirs', () => {
  const bounds = { minTimestep: 700, maxTimestep: 701 };
  const { timeProj, sqrtAlpha, sqrtOneMinusAlpha, weight } = feeds([visit(0)], {
    ...bounds,
    minSnrGamma: 5,
  });
  expect(timeProj).toEqual(timestepEmbedding([700], 8));
  const alpha = schedule.alphasCumprod[700]!;
  expect(numbersOf(sqrtAlpha!)).toBeAllClose([Math.sqrt(alpha)]);
  expect(numbersOf(sqrtOneMinusAlpha!)).toBeAllClose([Math.sqrt(1 - alpha)]);
  expect(numbersOf(weight!)).toBeAllClose([minSnrWeight(schedule, 700, 5)]);
  const early = feeds([visit(0)], { minTimestep: 1, maxTimestep: 2, minSnrGamma: 5 });
  expect(Number(early['weight']!.data[0])).toBeLessThan(0.1);
});

test('debiased estimation weighs a timestep by what is predicted', () => {
  const weightOf = (changes: Partial<NoiseOptions>) =>
    numbersOf(feeds([visit(0)], { minTimestep: 700, maxTimestep: 701, ...changes })['weight']!);
  const alpha = schedule.alphasCumprod[700]!;
  const debiased = { debiasedEstimation: true };
  expect(weightOf(debiased)).toBeAllClose([Math.sqrt((1 - alpha) / alpha)]);
  expect(weightOf({ ...debiased, predictionType: 'v_prediction' })).toBeAllClose([1 - alpha]);
});

test('prior samples count by their weight', () => {
  const { weight } = feeds([visit(0), visit(1, { prior: true })], { priorLossWeight: 0.25 });
  expect(numbersOf(weight!)).toEqual([1, 0.25]);
});

test('offset noise shifts whole channels', () => {
  const data = numbersOf(feeds([visit(0)], { noiseOffset: 1000 })['noise']!);
  for (let c = 0; c < 4; c++) {
    const channel = data.slice(c * area, (c + 1) * area);
    const mean = channel.reduce((a, b) => a + b) / area;
    expect(Math.abs(mean)).toBeGreaterThan(20);
    expect(Math.max(...channel.map((value) => Math.abs(value - mean)))).toBeLessThan(5);
  }
});
