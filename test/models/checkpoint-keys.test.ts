/** @file Names, keys and shapes of all weights of SD 1.5, by rule and as published. */

import { expect, test } from 'vitest';
import { sd1 } from '../../src/models/sd1/family.ts';
import { sd1CheckpointKey } from '../../src/models/sd1/key-map.ts';
import { sd1TensorShapes } from '../../src/models/sd1/tensor-shapes.ts';
import { vaeKeyCandidates } from '../../src/models/vae-keys.ts';
import { sd15Sizes, sd15Weights, tinySizes } from './sd1/sd15-facts.ts';

test('every weight of SD 1.5 has its name, key and shape', () => {
  const byRule = [...sd1TensorShapes(sd15Sizes)].map(
    ([name, shape]) => `${name} ${sd1CheckpointKey(name, sd15Sizes)} ${shape}`,
  );
  const published = sd15Weights().map(({ name, key, shape }) => `${name} ${key} ${shape}`);
  expect(published).toHaveLength(686 + 196 + 248);
  expect(byRule.sort()).toEqual(published.sort());
});

test('keys follow the numbers of layers and levels', () => {
  const key = (name: string) => sd1CheckpointKey(name, tinySizes);
  expect(key('unet.down_blocks.1.downsamplers.0.conv.bias')).toBe(
    'model.diffusion_model.input_blocks.4.0.op.bias',
  );
  expect(key('unet.up_blocks.0.upsamplers.0.conv.bias')).toBe(
    'model.diffusion_model.output_blocks.1.1.conv.bias',
  );
  expect(key('unet.up_blocks.1.upsamplers.0.conv.bias')).toBe(
    'model.diffusion_model.output_blocks.3.2.conv.bias',
  );
  expect(key('vae.decoder.up_blocks.0.resnets.1.conv1.bias')).toBe(
    'first_stage_model.decoder.up.1.block.1.conv1.bias',
  );
  expect(new Set([...sd1TensorShapes(tinySizes).keys()].map(key)).size).toBe(
    sd1TensorShapes(tinySizes).size,
  );
});

test('published files have other keys for some weights', () => {
  expect(sd1.textKeys('text_encoder', 'text_model.final_layer_norm.bias')).toEqual([
    { key: 'cond_stage_model.transformer.text_model.final_layer_norm.bias' },
    { key: 'cond_stage_model.transformer.final_layer_norm.bias' },
  ]);
  const path = 'encoder.mid_block.attentions.0';
  expect(vaeKeyCandidates(`${path}.to_out.0`, 'weight', 4)).toEqual([
    'first_stage_model.encoder.mid.attn_1.proj_out.weight',
    'encoder.mid.attn_1.proj_out.weight',
    `${path}.to_out.0.weight`,
    `${path}.proj_attn.weight`,
  ]);
});

test('a name of no network is our mistake', () => {
  expect(() => sd1CheckpointKey('unet.nothing.weight', sd15Sizes)).toThrow('internal');
  expect(() => sd1CheckpointKey('unet.conv_in', sd15Sizes)).toThrow('internal');
});
