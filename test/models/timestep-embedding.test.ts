/** @file The sines against PyTorch's, to the last bit of their angles. */

import { join } from 'node:path';
import { expect, test } from 'vitest';
import { timestepEmbedding } from '../../src/models/timestep-embedding.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';

const golden = join(import.meta.dirname, '../fixtures/golden/scheduler.safetensors');

test.each([32, 320])('%i channels are those of diffusers', async (channels) => {
  const file = await openSafetensors(golden);
  const timesteps = await file.readF32('temb.timesteps');
  const expected = await file.readF32(`temb.dim${channels}_torch_f32`);
  file.close();
  const { data, shape } = timestepEmbedding(timesteps, channels);
  expect(shape).toEqual([timesteps.length, channels]);
  // 6e-8 is an ulp of a sine; one of an angle would be up to 6e-5.
  expect(data).toBeAllClose(expected, { rtol: 0, atol: 6e-8 });
});

test('fractional timesteps lie between whole ones', () => {
  const { data } = timestepEmbedding([749.25], 2);
  expect(data).toBeAllClose([Math.cos(749.25), Math.sin(749.25)], { atol: 1e-7 });
});
