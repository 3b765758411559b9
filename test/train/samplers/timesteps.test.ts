/** @file Timesteps and noise levels of samplers against diffusers'. */

import { expect, test } from 'vitest';
import { stableDiffusionSchedule } from '../../../src/train/noise-schedule.ts';
import { eulerLevels, karrasSigmas, sigmasAt } from '../../../src/train/samplers/sigmas.ts';
import { samplerTimesteps } from '../../../src/train/samplers/timesteps.ts';
import { goldenValues } from '../golden.ts';

const golden = await goldenValues('scheduler.safetensors');
const sampled = await goldenValues('sd15/sample.safetensors');
const schedule = stableDiffusionSchedule();

test.each([5, 20])('whole timesteps, %i steps', (n) => {
  expect(samplerTimesteps('leading', n)).toEqual(golden(`ddim.leading0.n${n}.timesteps`));
  expect(samplerTimesteps('leading', n, { offset: 1 })).toEqual(
    golden(`ddim.leading1.n${n}.timesteps`),
  );
  expect(samplerTimesteps('trailing', n)).toEqual(golden(`ddim.trailing0.n${n}.timesteps`));
  expect(samplerTimesteps('linspace', n)).toEqual(golden(`ddim.linspace0.n${n}.timesteps`));
});

test.each([5, 20])('noise levels, %i steps', (n) => {
  for (const [name, timesteps] of [
    ['leading0', samplerTimesteps('leading', n)],
    ['leading1', samplerTimesteps('leading', n, { offset: 1 })],
    ['trailing0', samplerTimesteps('trailing', n)],
    ['linspace0', samplerTimesteps('linspace', n, { fractional: true })],
  ] as const) {
    expect(timesteps).toBeAllClose(golden(`euler.${name}.n${n}.timesteps`), { rtol: 1e-7 });
    expect(sigmasAt(schedule, timesteps)).toBeAllClose(golden(`euler.${name}.n${n}.sigmas`), {
      rtol: 5e-6,
    });
  }
});

test.each([5, 20])('noise levels after Karras, %i steps', (n) => {
  const { sigmas, timesteps } = karrasSigmas(schedule, n);
  expect(sigmas).toBeAllClose(golden(`euler.karras.n${n}.sigmas`), { rtol: 5e-6 });
  expect(timesteps).toBeAllClose(golden(`euler.karras.n${n}.timesteps`), {
    rtol: 1e-4,
    atol: 1e-3,
  });
});

test('noise levels of web UIs are interpolated by their logarithms', () => {
  const linear = eulerLevels(schedule, 5, 'linear').sigmas;
  const log = eulerLevels(schedule, 5, 'log').sigmas;
  expect(linear).toBeAllClose(sampled('euler.sigmas'), { rtol: 5e-6 });
  expect(log).toBeAllClose(sampled('euler_k.sigmas'), { rtol: 5e-6 });
  expect(log[1]).toBeLessThan(linear[1]! * (1 - 1e-6));
});

test('any number of steps stays inside the schedule', () => {
  for (const n of [1, 2, 3, 7, 16, 999, 1000]) {
    for (const spacing of ['leading', 'trailing', 'linspace'] as const) {
      const timesteps = samplerTimesteps(spacing, n, { offset: 1 });
      expect(timesteps).toHaveLength(n);
      expect(Math.max(...timesteps)).toBeLessThanOrEqual(999);
      expect(Math.min(...timesteps)).toBeGreaterThanOrEqual(0);
      expect(timesteps.slice(1).every((t, i) => t <= timesteps[i]!)).toBe(true);
    }
  }
});
