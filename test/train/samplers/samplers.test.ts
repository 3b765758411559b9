/** @file The samplers, step by step, with the network's predictions as PyTorch recorded them. */

import { describe, expect, test } from 'vitest';
import { stableDiffusionSchedule } from '../../../src/train/noise-schedule.ts';
import { sampleDdim } from '../../../src/train/samplers/ddim.ts';
import { sampleEuler, sampleEulerAncestral } from '../../../src/train/samplers/euler.ts';
import { classifierFreeGuidance, type Denoise } from '../../../src/train/samplers/sampler.ts';
import { goldenValues } from '../golden.ts';

const golden = await goldenValues('sd15/sample.safetensors');
const values = (name: string) => Float32Array.from(golden(name));
const schedule = stableDiffusionSchedule();
const noise = values('noise');
const guidance = golden('cfg_scale')[0]!;

/** Plays back the recorded predictions of `sampler`; fails where a timestep differs. */
function recorded(sampler: string, steps: number): Denoise {
  let step = 0;
  return classifierFreeGuidance(async (_, timestep) => {
    expect(timestep).toBeCloseTo(golden(`${sampler}.timesteps`)[step]!, 3);
    const i = Math.min(step++, steps - 1);
    return {
      cond: values(`${sampler}.${i}.model_cond`),
      uncond: values(`${sampler}.${i}.model_uncond`),
    };
  }, guidance);
}

test('DDIM takes the recorded steps', async () => {
  const seen: number[] = [];
  await sampleDdim({
    schedule,
    steps: 5,
    noise,
    denoise: recorded('ddim', 5),
    onStep: (step, x) => {
      seen.push(step);
      const expected = values(`ddim.${step}.x`);
      expect(x).toBeAllClose(expected, { rtol: 1e-6, atol: 5e-6 });
    },
  });
  expect(seen).toEqual([0, 1, 2, 3, 4]);
});

test.each([
  ['euler', 'linear', false],
  ['euler_k', 'log', false],
  ['euler_a', 'linear', true],
  ['euler_a_k', 'log', true],
] as const)('%s takes the recorded first step', async (name, interpolation, ancestral) => {
  const fresh = values('ancestral_noise');
  const options = {
    schedule,
    steps: 5,
    noise,
    interpolation,
    denoise: recorded(name, 1),
    onStep: (step: number, x: Float32Array) => {
      if (step === 0) expect(x).toBeAllClose(values(`${name}.0.x`), { rtol: 2e-6, atol: 2e-5 });
    },
  };
  const asked: number[] = [];
  const stepNoise = (step: number) => {
    asked.push(step);
    return fresh.subarray(step * noise.length, (step + 1) * noise.length);
  };
  await (ancestral ? sampleEulerAncestral({ ...options, stepNoise }) : sampleEuler(options));
  expect(asked).toEqual(ancestral ? [0, 1, 2, 3] : []);
});

/** What a network would predict that knows that the picture is `picture` all over. */
function knowing(picture: number, predictionType: 'epsilon' | 'v_prediction'): Denoise {
  return async (x, timestep) => {
    const t = Math.round(timestep);
    const a = Math.sqrt(schedule.alphasCumprod[t]!);
    const s = Math.sqrt(1 - schedule.alphasCumprod[t]!);
    return x.map((value) => {
      const epsilon = (value - a * picture) / s;
      return predictionType === 'epsilon' ? epsilon : a * epsilon - s * picture;
    });
  };
}

describe.each(['epsilon', 'v_prediction'] as const)('a network that predicts %s', (type) => {
  const options = { schedule, steps: 40, noise, predictionType: type } as const;
  const denoise = knowing(0.7, type);
  const expected = new Float32Array(noise.length).fill(0.7);

  test('is followed to its picture by DDIM', async () => {
    expect(await sampleDdim({ ...options, denoise })).toBeAllClose(expected, { atol: 0.1 });
  });

  test('is followed to its picture by Euler', async () => {
    expect(await sampleEuler({ ...options, denoise })).toBeAllClose(expected, { atol: 0.1 });
  });

  test('is followed to its picture by Euler a', async () => {
    const stepNoise = () => noise;
    const found = await sampleEulerAncestral({ ...options, denoise, stepNoise });
    expect(found).toBeAllClose(expected, { atol: 0.1 });
  });
});
