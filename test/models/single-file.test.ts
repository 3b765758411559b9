/** @file Checkpoints as they come: complete, of other sizes, of other models, and damaged. */

import { expect, test } from 'vitest';
import type { CheckpointFile } from '../../src/models/checkpoint.ts';
import { sd1CheckpointKey } from '../../src/models/sd1/key-map.ts';
import { openCheckpoint } from '../../src/models/single-file.ts';
import type { ModelSizes } from '../../src/models/sizes.ts';
import { modelTensorShapes } from '../../src/models/tensor-shapes.ts';
import type { DType } from '../../src/tensor/dtype.ts';
import { type Shape, sizeOf } from '../../src/tensor/shape.ts';
import { UserError } from '../../src/tensor/user-error.ts';
import { sd15Sizes, sd15Weights, tinySizes } from './sd1/sd15-facts.ts';

interface TestFile extends CheckpointFile {
  readonly entries: Map<string, { dtype: DType | null; stored: string; shape: Shape }>;
}

function fileOf(keys: Iterable<readonly [string, Shape]>, path = 'base.safetensors'): TestFile {
  const entries: TestFile['entries'] = new Map(
    Array.from(keys, ([key, shape]) => [key, { dtype: 'f16', stored: 'F16', shape }]),
  );
  return {
    path,
    entries,
    readF32Sync: (key) => new Float32Array(sizeOf(entries.get(key)!.shape)).fill(key.length),
    readHalfSync: (key) => new Uint16Array(sizeOf(entries.get(key)!.shape)).fill(key.length),
  };
}

function checkpoint(sizes: ModelSizes = tinySizes): TestFile {
  const shapes = modelTensorShapes(sizes);
  return fileOf(Array.from(shapes, ([name, shape]) => [sd1CheckpointKey(name, sizes), shape]));
}

function messageOf(file: CheckpointFile, vae?: CheckpointFile): string {
  try {
    openCheckpoint(file, { vae });
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    return (error as Error).message;
  }
  return 'opened';
}

const renamed = (file: TestFile, rename: (key: string) => string) =>
  fileOf(Array.from(file.entries, ([key, { shape }]) => [rename(key), shape]));

test.each([
  ['SD 1.5', sd15Sizes],
  ['a small one', tinySizes],
  [
    'one level',
    {
      ...tinySizes,
      unet: { ...tinySizes.unet, channels: [32], attention: [true], layersPerBlock: 3 },
      vae: { ...tinySizes.vae, channels: [32], layersPerBlock: 2 },
    },
  ],
])('sizes are read off the tensors of %s', (_, sizes) => {
  const model = openCheckpoint(checkpoint(sizes));
  expect(model.sizes).toEqual(sizes);
  expect(model.shapes).toEqual(modelTensorShapes(sizes));
  expect(model.unknownKeys).toEqual([]);
});

test('weights are read under our names', () => {
  const model = openCheckpoint(checkpoint());
  const { key } = model.places.get('unet.conv_in.bias')!;
  expect(key).toBe('model.diffusion_model.input_blocks.0.0.bias');
  expect(model.read('unet.conv_in.bias')).toEqual(new Float32Array(32).fill(key.length));
  expect(() => model.read('unet.none.bias')).toThrow('internal');
});

test('what published files have beside the weights is no matter', () => {
  const file = checkpoint();
  const extra = (key: string, dtype: DType = 'f32') =>
    file.entries.set(key, { dtype, stored: dtype.toUpperCase(), shape: [1] });
  extra('cond_stage_model.transformer.text_model.embeddings.position_ids', 'i64');
  extra('model_ema.diffusion_modelinput_blocks00weight');
  extra('model_ema.num_updates', 'i32');
  extra('alphas_cumprod');
  extra('denoiser.sigmas');
  extra('cond_stage_model.logit_scale');
  extra('somebody.elses.weight');
  expect(openCheckpoint(file).unknownKeys).toEqual(['somebody.elses.weight']);
});

/** What the published file of SD 1.5 holds beside the weights. */
const sd15Buffers: readonly (readonly [string, Shape])[] = [
  ['cond_stage_model.transformer.text_model.embeddings.position_ids', [1, 77]],
  ['model_ema.decay', []],
  ['model_ema.num_updates', []],
  ...[
    'alphas_cumprod', 'alphas_cumprod_prev', 'betas', 'log_one_minus_alphas_cumprod', 'posterior_log_variance_clipped', 'posterior_mean_coef1',
    'posterior_mean_coef2', 'posterior_variance', 'sqrt_alphas_cumprod', 'sqrt_one_minus_alphas_cumprod', 'sqrt_recip_alphas_cumprod', 'sqrt_recipm1_alphas_cumprod',
  ].map((key) => [key, [1000]] as const),
]; // biome-ignore format: a table

test('SD 1.5 as published opens with every weight in its place, and no key unknown', () => {
  const weights = sd15Weights();
  const file = fileOf([...weights.map(({ key, shape }) => [key, shape] as const), ...sd15Buffers]);
  expect(file.entries.size).toBe(1145);
  const { family, sizes, unknownKeys, places } = openCheckpoint(file);
  expect([family.id, sizes, unknownKeys]).toEqual(['sd1', sd15Sizes, []]);
  const ours = Array.from(places, ([name, { key, shape }]) => `${name} ${key} ${shape}`);
  expect(ours.sort()).toEqual(weights.map(({ name, key, shape }) => `${name} ${key} ${shape}`).sort());
}); // biome-ignore format: one line a claim

test('NovelAI keys load', () => {
  const file = renamed(checkpoint(), (key) => key.replace('.text_model.', '.'));
  expect(openCheckpoint(file).sizes).toEqual(tinySizes);
});

test('matrices load in place of 1x1 convolutions', () => {
  const file = checkpoint();
  const key = 'first_stage_model.encoder.mid.attn_1.q.weight';
  file.entries.get(key)!.shape = [64, 64];
  expect(openCheckpoint(file).shapes.get('vae.encoder.mid_block.attentions.0.to_q.weight')).toEqual(
    [64, 64],
  );
});

const otherVae: ModelSizes = { ...tinySizes, vae: { ...tinySizes.vae, channels: [64, 32, 32] } };
const vaeWeights = [...modelTensorShapes(otherVae)].filter(([name]) => name.startsWith('vae.'));

test.each([
  [
    'CompVis keys',
    (name: string) => sd1CheckpointKey(name, otherVae).slice('first_stage_model.'.length),
  ],
  ['whole keys', (name: string) => sd1CheckpointKey(name, otherVae)],
  ['diffusers names', (name: string) => name.slice('vae.'.length)],
  [
    'older diffusers names',
    (name: string) =>
      name
        .slice('vae.'.length)
        .replace(
          /(attentions\.0\.)to_(q|k|v)/,
          (_, path: string, letter: 'q' | 'k' | 'v') =>
            path + { q: 'query', k: 'key', v: 'value' }[letter],
        )
        .replace('to_out.0', 'proj_attn'),
  ],
])('another autoencoder with %s', (_, keyOf) => {
  const vae = fileOf(
    vaeWeights.map(([name, shape]) => [keyOf(name), shape]),
    'vae.safetensors',
  );
  const whole = checkpoint();
  const bare = fileOf(
    [...whole.entries]
      .filter(([key]) => !key.startsWith('first'))
      .map(([key, { shape }]) => [key, shape]),
  );
  for (const base of [whole, bare]) {
    const model = openCheckpoint(base, { vae });
    expect(model.sizes).toEqual(otherVae);
    expect(model.places.get('vae.decoder.conv_in.bias')!.file.path).toBe('vae.safetensors');
  }
  expect(messageOf(bare)).toContain('no autoencoder');
  expect(messageOf(vae)).toContain('an autoencoder (VAE) alone');
});

const unetIn = 'model.diffusion_model.input_blocks.0.0.weight';

test.each<[string, readonly (readonly [string, Shape])[], string]>([
  [
    'the SDXL refiner',
    [
      ['conditioner.embedders.0.model.ln_final.weight', [1280]],
      ['model.diffusion_model.label_emb.0.0.weight', [1, 1]],
    ],
    'SDXL refiner',
  ],
  ['inpainting', [[unetIn, [320, 9, 3, 3]]], '9 channels'],
  [
    'a kohya LoRA',
    [['lora_unet_mid_block_attentions_0_proj_in.lora_down.weight', [4, 320, 1, 1]]],
    'a LoRA',
  ],
  ['a peft LoRA', [['unet.mid_block.attentions.0.proj_in.lora_A.weight', [4, 320]]], 'a LoRA'],
  [
    'a diffusers UNet',
    [
      ['time_embedding.linear_1.weight', [1280, 320]],
      ['conv_in.weight', [320, 4, 3, 3]],
    ],
    'give the whole diffusers folder',
  ],
  [
    'a diffusers text encoder',
    [['text_model.embeddings.token_embedding.weight', [49408, 768]]],
    'give the whole diffusers folder',
  ],
  [
    'SD 3',
    [['model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight', [1, 1]]],
    'Stable Diffusion 3',
  ],
  ['a picture classifier', [['fc.weight', [10, 10]]], 'no model that is known'],
])('%s is named and refused', (_, keys, expected) => {
  const message = messageOf(fileOf(keys));
  expect(message).toContain(expected);
  expect(message).toMatch(
    /^base\.safetensors: .*a checkpoint of Stable Diffusion 1\.x, Stable Diffusion 2\.x or SDXL is expected/,
  );
});

test('missing tensors are counted and named', () => {
  const file = checkpoint();
  const keys = [...file.entries.keys()].filter((key) => key.includes('output_blocks.3.1.'));
  for (const key of keys) file.entries.delete(key);
  const message = messageOf(file);
  expect(message).toContain(`${keys.length} tensors`);
  expect(message).toContain(keys[0]);
  expect(message).toContain(`and ${keys.length - 3} more`);
});

test('a tensor that sizes are read off is missing', () => {
  const file = checkpoint();
  file.entries.delete('model.diffusion_model.out.2.weight');
  expect(messageOf(file)).toContain('model.diffusion_model.out.2.weight is missing');
});

test('shapes that do not fit are named with what they should be', () => {
  const file = checkpoint();
  file.entries.get('model.diffusion_model.middle_block.0.in_layers.2.bias')!.shape = [31];
  expect(messageOf(file)).toContain('middle_block.0.in_layers.2.bias is [31], expected [32]');
});

test('weights in an unsupported number format are named', () => {
  const file = checkpoint();
  Object.assign(file.entries.get(unetIn)!, { dtype: null, stored: 'F8_E4M3' });
  expect(messageOf(file)).toContain(`${unetIn} is stored as F8_E4M3`);
});

test('a NaN is named with its tensor', () => {
  const file = checkpoint();
  const broken: CheckpointFile = {
    ...file,
    readF32Sync: (key) => file.readF32Sync(key).fill(Number.NaN, 3, 4),
  };
  const model = openCheckpoint(broken);
  expect(() => model.read('unet.conv_in.bias')).toThrow(
    /base\.safetensors: the tensor model\.diffusion_model\.input_blocks\.0\.0\.bias holds NaN at index 3/,
  );
});
