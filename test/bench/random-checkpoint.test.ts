/** @file The random checkpoint has what the published one has. */

import { expect, test } from 'vitest';
import { checkpointEntries } from '../../scripts/make-random-checkpoint.ts';
import { dtypeBytes } from '../../src/tensor/dtype.ts';
import { f16ToF32 } from '../../src/tensor/half.ts';
import { sizeOf } from '../../src/tensor/shape.ts';
import { publishedFile } from '../models/published-models.ts';
import { sd15Weights } from '../models/sd1/sd15-facts.ts';

const positionIds = 'cond_stage_model.transformer.text_model.embeddings.position_ids';

/** Of v1-5-pruned-emaonly.safetensors, beside the weights of its networks. */
const buffers = [
  'alphas_cumprod f16 1000',
  'alphas_cumprod_prev f16 1000',
  'betas f16 1000',
  `${positionIds} i64 1,77`,
  'log_one_minus_alphas_cumprod f16 1000',
  'model_ema.decay f16 ',
  'model_ema.num_updates i32 ',
  'posterior_log_variance_clipped f16 1000',
  'posterior_mean_coef1 f16 1000',
  'posterior_mean_coef2 f16 1000',
  'posterior_variance f16 1000',
  'sqrt_alphas_cumprod f16 1000',
  'sqrt_one_minus_alphas_cumprod f16 1000',
  'sqrt_recip_alphas_cumprod f16 1000',
  'sqrt_recipm1_alphas_cumprod f16 1000',
];

const entries = checkpointEntries('sd1', 'f16', 0);

test('has all 1145 tensors of the published file, with their shapes', () => {
  const published = sd15Weights().map(({ key, shape }) => `${key} f16 ${shape}`);
  const found = [...entries].map(([key, { dtype, shape }]) => `${key} ${dtype} ${shape}`);
  expect(found).toHaveLength(1145);
  expect(found.sort()).toEqual([...new Set([...published, ...buffers])].sort());
});

test.each([
  ['sd2', 'sd21', 1242],
  ['sdxl', 'sdxl', 2515],
] as const)(
  '%s has all tensors of the published file, with their shapes',
  (family, model, count) => {
    const shapesOf = (all: Iterable<readonly [string, { readonly shape: readonly number[] }]>) =>
      Array.from(all, ([key, { shape }]) => `${key} ${shape}`).sort();
    const found = shapesOf(checkpointEntries(family, 'f16', 0));
    expect(found).toHaveLength(count);
    expect(found).toEqual(shapesOf(publishedFile(model).file.entries));
  },
);

test.each([
  'model.diffusion_model.time_embed.0.weight',
  'model.diffusion_model.out.0.weight',
  'posterior_log_variance_clipped',
  'model_ema.decay',
  'model_ema.num_updates',
  positionIds,
])('makes as many bytes of %s as its shape tells', (key) => {
  const { dtype, shape, bytes } = entries.get(key)!;
  expect(bytes()).toHaveLength(sizeOf(shape) * dtypeBytes[dtype]);
});

test('draws tame weights, the same for the same seed', () => {
  const read = (key: string, seed = 0) => {
    const bytes = checkpointEntries('sd1', 'f16', seed).get(key)!.bytes();
    return f16ToF32(new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2));
  };
  const layer = 'model.diffusion_model.time_embed.0.weight';
  const values = read(layer);
  const bound = 1 / Math.sqrt(320);
  expect(Math.max(...values.subarray(0, 10_000))).toBeLessThanOrEqual(bound * 1.001);
  const square = values.reduce((sum, x) => sum + x * x, 0) / values.length;
  expect(square / (bound ** 2 / 3)).toBeCloseTo(1, 1);
  expect(read(layer)).toEqual(values);
  expect(read(layer, 1)).not.toEqual(values);
  expect(new Set(read('model.diffusion_model.out.0.weight'))).toEqual(new Set([1]));
  expect(new Set(read('model.diffusion_model.out.0.bias'))).toEqual(new Set([0]));
});
