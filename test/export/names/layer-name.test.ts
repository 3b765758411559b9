/** @file Layers' names between the forms: every layer of full-size models, there and back. */

import { describe, expect, test } from 'vitest';
import { kohyaName, readDottedName, readKohyaName } from '../../../src/export/names/layer-name.ts';
import { readSections } from '../../models/sd1/sd15-facts.ts';

const unetLayers = [...readSections('sdxl-unet-layers.tsv').values()].flatMap(({ rows }) => rows);

describe("kohya's names", () => {
  test("every layer of SDXL's UNet is named as in Stability AI's code", () => {
    expect(unetLayers).toHaveLength(722 + 66);
    for (const [original, path] of unetLayers) {
      const name = `lora_unet_${original}`;
      expect(readKohyaName(name)).toEqual({ network: 'unet', path, isSdxl: true });
      expect(kohyaName({ network: 'unet', path: path! }, 'sdxl')).toBe(name);
      // Some trainers use diffusers' names for SDXL too.
      const alias = `lora_unet_${path!.replaceAll('.', '_')}`;
      expect(readKohyaName(alias)).toEqual({ network: 'unet', path, isSdxl: false });
    }
  });

  test('every layer of SD 1.5', () => {
    const groups = readSections('sd15-lora-modules.tsv');
    const rows = [...groups].flatMap(([, group]) => group.rows);
    expect(rows.length).toBeGreaterThan(340);
    for (const [name, , path] of rows) {
      const layer = readKohyaName(name!);
      expect(layer).toMatchObject({ path, isSdxl: false });
      expect(kohyaName(layer!, 'sd1')).toBe(name);
    }
  });

  test.each([
    ['lora_te1_text_model_encoder_layers_11_mlp_fc1', 'text_encoder', 'text_model.encoder.layers.11.mlp.fc1'],
    ['lora_te2_text_model_encoder_layers_31_self_attn_q_proj', 'text_encoder_2', 'text_model.encoder.layers.31.self_attn.q_proj'],
    ['lora_te2_text_projection', 'text_encoder_2', 'text_projection'],
    ['lora_unet_input_blocks_0_0', 'unet', 'conv_in'],
    ['lora_unet_label_emb_0_2', 'unet', 'add_embedding.linear_2'],
    ['lora_unet_time_embed_0', 'unet', 'time_embedding.linear_1'],
    ['lora_unet_out_2', 'unet', 'conv_out'],
  ])('%s', (name, network, path) => {
    expect(readKohyaName(name)).toEqual({ network, path, isSdxl: true });
    expect(kohyaName({ network: network as 'unet', path }, 'sdxl')).toBe(name);
  }); // biome-ignore format: a table

  test("a step between levels without transformers, as in SD 1.x's original names", () => {
    expect(readKohyaName('lora_unet_output_blocks_2_1_conv')).toMatchObject({
      path: 'up_blocks.0.upsamplers.0.conv',
    });
  });

  test.each([
    'lora_unet_',
    'lora_unet_single_transformer_blocks_0_attn_to_q',
    'lora_unet_input_blocks_3_0_in_layers_2',
    'lora_unet_middle_block_3_proj_in',
    'lora_unet_input_blocks_1_2_proj_in',
    'lora_te3_encoder_layers_0',
    'unet.mid_block.attentions.0.proj_in',
  ])('%s is no layer', (name) => {
    expect(readKohyaName(name)).toBeNull();
  });
});

describe('dotted names', () => {
  const path = 'mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0';
  test.each([
    [`unet.${path}`, 'unet', path],
    [`base_model.model.${path}`, 'unet', path],
    ['unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora', 'unet', path],
    ['mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora', 'unet', path.replace('to_out.0', 'to_q')],
    ['text_encoder.text_model.encoder.layers.0.self_attn.to_out_lora', 'text_encoder', 'text_model.encoder.layers.0.self_attn.out_proj'],
    ['text_model.encoder.layers.0.mlp.fc2', 'text_encoder', 'text_model.encoder.layers.0.mlp.fc2'],
    ['text_encoder_2.text_projection', 'text_encoder_2', 'text_projection'],
  ])('%s', (name, network, expected) => {
    expect(readDottedName(name)).toMatchObject({ network, path: expected });
  }); // biome-ignore format: a table

  test.each([
    'transformer.single_transformer_blocks.0.attn.to_q',
    'unet.text_model.encoder.layers.0.mlp.fc2',
    'text_encoder.mid_block.attentions.0.proj_in',
    'unet',
    'unet.',
    'unet..proj_in',
    'lora_unet_mid_block_attentions_0_proj_in',
    'encoder.layers.0',
  ])('%s is no layer', (name) => {
    expect(readDottedName(name)).toBeNull();
  });
});
