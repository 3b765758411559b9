/** @file SD 2.1 and SDXL as published: every tensor found, none left over; and as people change them. */

import { describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/models/single-file.ts';
import { modelTensorShapes } from '../../src/models/tensor-shapes.ts';
import { UserError } from '../../src/tensor/user-error.ts';
import { publishedFile } from './published-models.ts';

const sizes = {
  sd21: {
    unet: {
      inChannels: 4,
      outChannels: 4,
      channels: [320, 640, 1280, 1280],
      layersPerBlock: 2,
      attention: [true, true, true, false],
      contextChannels: 1024,
      linearProjection: true,
    },
    text: { vocabulary: 49408, positions: 77, hidden: 1024, inner: 4096, layers: 23 },
  },
  sdxl: {
    unet: {
      inChannels: 4,
      outChannels: 4,
      channels: [320, 640, 1280],
      layersPerBlock: 2,
      attention: [false, true, true],
      depths: [0, 2, 10],
      contextChannels: 2048,
      linearProjection: true,
      additionChannels: 2816,
    },
    text: { vocabulary: 49408, positions: 77, hidden: 768, inner: 3072, layers: 12 },
    text2: {
      vocabulary: 49408,
      positions: 77,
      hidden: 1280,
      inner: 5120,
      layers: 32,
      projection: 1280,
    },
  },
} as const;
const vae = {
  imageChannels: 3,
  latentChannels: 4,
  channels: [128, 256, 512, 512],
  layersPerBlock: 2,
};

describe.each([
  ['sd21', 'sd2', 1242],
  ['sdxl', 'sdxl', 2515],
] as const)('%s', (model, family, tensors) => {
  test('opens with every weight in its place, and no key unknown', () => {
    const { file, weights } = publishedFile(model);
    expect(file.entries.size).toBe(tensors);
    const checkpoint = openCheckpoint(file);
    expect(checkpoint.family.id).toBe(family);
    expect(checkpoint.sizes).toEqual({ ...sizes[model], vae });
    expect(checkpoint.unknownKeys).toEqual([]);
    expect(checkpoint.shapes).toEqual(modelTensorShapes(checkpoint.sizes));
    const ours = Array.from(checkpoint.places, ([name, { key, shape, third, transposed }]) =>
      [name, key, shape, third ?? (transposed ? 'transposed' : '')].join(' '),
    );
    const published = weights.map(({ name, key, shape, part }) =>
      [name, key, shape, part].join(' '),
    );
    expect(ours.sort()).toEqual(published.sort());
  });

  test('opens without what some files leave out, and with what they add', () => {
    const { file, entries } = publishedFile(model);
    for (const key of [...entries.keys()]) {
      if (/position_ids|logit_scale|^alphas|^betas|posterior/.test(key)) entries.delete(key);
    }
    entries.set('model_ema.diffusion_modelinput_blocks00weight', {
      dtype: 'f32',
      stored: 'F32',
      shape: [320, 4, 3, 3],
    });
    entries.set('denoiser.sigmas', { dtype: 'f32', stored: 'F32', shape: [1000] });
    const unet = 'model.diffusion_model.input_blocks.0.0.weight';
    Object.assign(entries.get(unet)!, { dtype: 'bf16', stored: 'BF16' });
    expect(openCheckpoint(file).unknownKeys).toEqual([]);
  });

  test('opens without its VAE where one is given', () => {
    const { file, entries } = publishedFile(model);
    const vaeFile = publishedFile(model);
    for (const key of vaeFile.entries.keys()) {
      if (key.startsWith('first_stage_model.')) entries.delete(key);
      else vaeFile.entries.delete(key);
    }
    expect(() => openCheckpoint(file)).toThrow('no autoencoder');
    const { places } = openCheckpoint(file, { vae: vaeFile.file });
    expect(places.get('vae.encoder.conv_in.weight')?.file).toBe(vaeFile.file);
  });

  test('is refused with a UNet of more channels, or another table of noise', () => {
    const { file, entries } = publishedFile(model);
    const key = 'model.diffusion_model.input_blocks.0.0.weight';
    entries.get(key)!.shape = [320, 9, 3, 3];
    expect(() => openCheckpoint(file)).toThrow(/an inpainting checkpoint/);
    entries.get(key)!.shape = [320, 5, 3, 3];
    expect(() => openCheckpoint(file)).toThrow(UserError);
    expect(() => openCheckpoint(file)).toThrow(/takes 5 channels, latents have 4/);
    const other = publishedFile(model);
    other.entries.set('edm_mean', { dtype: 'f32', stored: 'F32', shape: [4] });
    expect(() => openCheckpoint(other.file)).toThrow('EDM');
  });
});

test('q, k and v are thirds of one tensor, the projection is stored the other way round', () => {
  const { file } = publishedFile('sdxl');
  const block = 'conditioner.embedders.1.model.transformer.resblocks.3.attn.in_proj_bias';
  const counting = {
    ...file,
    readF32Sync: (key: string) =>
      key === block || key.endsWith('text_projection')
        ? Float32Array.from({ length: key === block ? 3840 : 1280 * 1280 }, (_, i) => i)
        : file.readF32Sync(key),
  };
  const { read } = openCheckpoint(counting);
  const at = (name: string) => read(`text_encoder_2.text_model.encoder.layers.3.self_attn.${name}`);
  expect([at('q_proj.bias')[0], at('k_proj.bias')[0], at('v_proj.bias')[0]]).toEqual([
    0, 1280, 2560,
  ]);
  expect(at('v_proj.bias')).toHaveLength(1280);
  const projection = read('text_encoder_2.text_projection.weight');
  expect([projection[1], projection[1280]]).toEqual([1280, 1]);
});

test('SD 2 Turbo has its text encoder at another place', () => {
  const { entries } = publishedFile('sd21');
  const moved = new Map(
    Array.from(entries, ([key, entry]) => [
      key.replace('cond_stage_model.', 'conditioner.embedders.0.'),
      entry,
    ]),
  );
  const { file } = publishedFile('sd21');
  const checkpoint = openCheckpoint({ ...file, entries: moved });
  expect([checkpoint.family.id, checkpoint.unknownKeys]).toEqual(['sd2', []]);
});

test('a schedule that ends in noise alone is seen in its table', () => {
  const { file } = publishedFile('sd21');
  const hints = (last: number) =>
    openCheckpoint({
      ...file,
      readF32Sync: () => Float32Array.of(0.99, last),
    }).hints.zeroTerminalSnr?.value;
  expect([hints(0.0047), hints(0), hints(4.9e-8)]).toEqual([false, true, true]);
});
