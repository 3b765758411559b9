/** @file The noise schedule against the tables of diffusers and exact ones. */

import { expect, test } from 'vitest';
import {
  coefficientTensors,
  debiasedWeight,
  diffusionCoefficients,
  minSnrWeight,
  rescaleZeroTerminalSnr,
  snr,
  stableDiffusionSchedule,
} from '../../src/train/noise-schedule.ts';
import { goldenValues } from './golden.ts';

const golden = await goldenValues('scheduler.safetensors');
const schedule = stableDiffusionSchedule();
const exact = stableDiffusionSchedule('f64');
const everyTimestep = Array.from({ length: 1000 }, (_, t) => t);

test('f32 tables are those of diffusers, bit for bit', () => {
  expect([...schedule.betas]).toEqual(golden('betas_f32'));
  expect([...schedule.alphasCumprod]).toEqual(golden('alphas_cumprod_f32'));
});

test('f64 tables are exact', () => {
  expect(exact.betas).toBeAllClose(golden('betas_f64'), { rtol: 1e-14, atol: 0 });
  expect(exact.alphasCumprod).toBeAllClose(golden('alphas_cumprod_f64'), { rtol: 1e-12, atol: 0 });
});

test('signal-to-noise ratios and their weights', () => {
  const ratios = everyTimestep.map((t) => snr(exact, t));
  expect(ratios).toBeAllClose(golden('snr_f64'), { rtol: 1e-11, atol: 0 });
  for (const gamma of [1, 5, 20]) {
    const epsilon = everyTimestep.map((t) => minSnrWeight(exact, t, gamma));
    const velocity = everyTimestep.map((t) => minSnrWeight(exact, t, gamma, 'v_prediction'));
    expect(epsilon).toBeAllClose(golden(`min_snr_weight_eps_gamma${gamma}_f64`), { rtol: 1e-11 });
    expect(velocity).toBeAllClose(golden(`min_snr_weight_v_gamma${gamma}_f64`), { rtol: 1e-11 });
  }
  // The f32 table has few bits of 1 - ᾱ where there is little noise.
  const rounded = everyTimestep.map((t) => minSnrWeight(schedule, t, 5));
  expect(rounded).toBeAllClose(golden('min_snr_weight_eps_gamma5_f64'), { rtol: 1e-4 });
});

test('debiased estimation weighs by the signal-to-noise ratio, up to 1000', () => {
  // Ratios 9999, 4, 1 and 0.25.
  const alphasCumprod = Float64Array.of(0.9999, 0.8, 0.5, 0.2);
  const short = { betas: new Float64Array(4), alphasCumprod };
  const weights = (...type: ['v_prediction'?]) =>
    [0, 1, 2, 3].map((t) => debiasedWeight(short, t, ...type));
  expect(weights()).toBeAllClose([0.0316227766, 0.5, 1, 2], { rtol: 1e-9 });
  expect(weights('v_prediction')).toBeAllClose([1 / 1001, 0.2, 0.5, 0.8], { rtol: 1e-9 });
  const all = everyTimestep.map((t) => debiasedWeight(exact, t));
  expect(all).toBeAllClose(golden('debiased_weight_f64'), { rtol: 1e-11 });
});

test('zero terminal SNR leaves nothing of the picture at the end', () => {
  const rescaled = rescaleZeroTerminalSnr(exact);
  expect(rescaled.alphasCumprod[999]).toBe(0);
  expect(rescaled.betas).toBeAllClose(golden('ztsnr_betas_f64'), { rtol: 1e-9, atol: 1e-15 });
  expect(rescaled.alphasCumprod).toBeAllClose(golden('ztsnr_alphas_cumprod_f64'), { atol: 1e-15 });
  const velocity = everyTimestep.map((t) => minSnrWeight(rescaled, t, 5, 'v_prediction'));
  expect(velocity).toBeAllClose(golden('ztsnr_min_snr_weight_v_gamma5_f64'), { atol: 1e-14 });
});

test('zero terminal SNR in f32 is as near to diffusers as f32 can tell', () => {
  const { betas, alphasCumprod } = rescaleZeroTerminalSnr(schedule);
  expect(betas).toBeAllClose(golden('ztsnr_betas_f32'), { rtol: 0, atol: 6e-7 });
  expect(alphasCumprod).toBeAllClose(golden('ztsnr_alphas_cumprod_f32'), { rtol: 0, atol: 6e-7 });
});

test('coefficients mix pictures and noise', () => {
  const timesteps = golden('add.timesteps');
  const [x0, noise] = [golden('add.x0'), golden('add.noise')];
  const size = x0.length / timesteps.length;
  const { sqrtAlpha, sqrtOneMinusAlpha } = coefficientTensors(schedule, timesteps);
  expect(sqrtAlpha.shape).toEqual([timesteps.length, 1, 1, 1]);
  const [a, s] = [sqrtAlpha.data, sqrtOneMinusAlpha.data];
  const sample = (i: number) => Math.floor(i / size);
  const noisy = x0.map((x, i) => a[sample(i)]! * x + s[sample(i)]! * noise[i]!);
  const velocity = x0.map((x, i) => a[sample(i)]! * noise[i]! - s[sample(i)]! * x);
  expect(noisy).toBeAllClose(golden('add.noisy'), { atol: 1e-6 });
  expect(velocity).toBeAllClose(golden('add.v'), { atol: 1e-6 });
});

test('a timestep outside the schedule is refused', () => {
  expect(() => diffusionCoefficients(schedule, 1000)).toThrow('timestep 1000');
});
