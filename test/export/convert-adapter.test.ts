/** @file Adapters from one form into another: the same factors, bit for bit, and the same strength. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { convertAdapter } from '../../src/export/convert-adapter.ts';
import type { AdapterFormat } from '../../src/export/names/tensor-keys.ts';
import { readAdapter } from '../../src/export/read-adapter.ts';
import { writeHashed } from '../../src/export/write-hashed.ts';
import { f32ToBf16, f32ToF16 } from '../../src/tensor/half.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { type Shape, sizeOf } from '../../src/tensor/shape.ts';
import { f32, type Tensor } from '../../src/tensor/tensor.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import { writeSafetensors } from '../../src/weights/safetensors-writer.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';

vi.setConfig({ testTimeout: 30_000 });

const at = temporaryFolder();
const golden = join(import.meta.dirname, '../fixtures/golden/sd15');

async function contentOf(path: string) {
  const file = await openSafetensors(path);
  const tensors = new Map<string, Tensor>();
  for (const key of file.entries.keys()) tensors.set(key, file.readSync(key));
  const { metadata } = file;
  file.close();
  return { tensors, metadata };
}

/** Converts a file, and reads what was written. */
async function convert(from: string, format: AdapterFormat, foldAlpha = false, to = format) {
  const file = await openSafetensors(from);
  let made: ReturnType<typeof convertAdapter>;
  try {
    made = convertAdapter(readAdapter(file), file.metadata, { format, foldAlpha });
  } finally {
    file.close();
  }
  const path = at(`${to}.safetensors`);
  const hash = await writeHashed(path, made.tensors, made.metadata);
  return { ...made, ...(await contentOf(path)), path, hash };
}

const normals = (shape: Shape, name: string) => new Rng(1, name).normals(sizeOf(shape));
const f16 = (shape: Shape, name: string): Tensor => ({
  dtype: 'f16',
  shape,
  data: f32ToF16(normals(shape, name)),
});
const bf16 = (shape: Shape, name: string): Tensor => ({
  dtype: 'bf16',
  shape,
  data: f32ToBf16(normals(shape, name)),
});

/** An SDXL LoRA with all that may differ from layer to layer: rank, alpha, dtype, kind of layer. */
const mixed = new Map<string, Tensor>([
  ['lora_unet_input_blocks_4_1_proj_in.lora_down.weight', f16([4, 8], 'a')],
  ['lora_unet_input_blocks_4_1_proj_in.lora_up.weight', f16([6, 4], 'b')],
  ['lora_unet_input_blocks_4_1_proj_in.alpha', { dtype: 'f16', shape: [], data: f32ToF16([2]) }],
  ['lora_unet_input_blocks_1_0_in_layers_2.lora_down.weight', bf16([2, 4, 3, 3], 'c')],
  ['lora_unet_input_blocks_1_0_in_layers_2.lora_up.weight', bf16([6, 2, 1, 1], 'd')],
  ['lora_unet_input_blocks_1_0_in_layers_2.alpha', { dtype: 'bf16', shape: [], data: f32ToBf16([1]) }],
  ['lora_unet_output_blocks_2_2_conv.lora_down.weight', f32([1, 4, 3, 3], normals([1, 4, 3, 3], 'e'))],
  ['lora_unet_output_blocks_2_2_conv.lora_up.weight', f32([4, 1, 1, 1], normals([4], 'f'))],
  ['lora_unet_output_blocks_2_2_conv.alpha', f32([], [0.3])],
  ['lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight', f16([4, 8], 'g')],
  ['lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight', f16([6, 4], 'h')],
  ['lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha', { dtype: 'f16', shape: [], data: f32ToF16([4]) }],
  ['lora_te2_text_model_encoder_layers_3_self_attn_q_proj.lora_down.weight', f16([8, 8], 'i')],
  ['lora_te2_text_model_encoder_layers_3_self_attn_q_proj.lora_up.weight', f16([6, 8], 'j')],
  ['lora_te2_text_model_encoder_layers_3_self_attn_q_proj.alpha', { dtype: 'f16', shape: [], data: f32ToF16([16]) }],
]); // biome-ignore format: a table

const mixedMetadata = new Map([['ss_base_model_version', 'sdxl_base_v1-0'], ['ss_output_name', 'mixed'], ['modelspec.hash_sha256', '0x00']]); // biome-ignore format: one line

async function writeMixed(): Promise<string> {
  await writeSafetensors(at('mixed.safetensors'), mixed, mixedMetadata);
  return at('mixed.safetensors');
}

describe('there and back', () => {
  test.each(['lora_init', 'locon_init'])('PyTorch’s %s, by diffusers and PEFT', async (name) => {
    const path = join(golden, `${name}.safetensors`);
    const { tensors } = await contentOf(path);
    const diffusers = await convert(path, 'diffusers');
    const peft = await convert(diffusers.path, 'peft');
    const kohya = await convert(peft.path, 'kohya');
    expect(kohya.tensors).toEqual(tensors);
    expect(diffusers.tensors.size).toBe((tensors.size / 3) * 2);
    expect([...peft.tensors.keys()].every((key) => /^(unet|text_encoder)\..*\.lora_[AB]\.weight$/.test(key))).toBe(true);
  }); // biome-ignore format: one line a claim

  test('ranks, alphas, dtypes and kinds that differ from layer to layer', async () => {
    const peft = await convert(await writeMixed(), 'peft');
    expect(peft.family).toBe('sdxl');
    expect(peft.scaleNotice).toContain('alpha is not the rank');
    expect([...peft.tensors.keys()].sort()).toContain('unet.down_blocks.0.resnets.0.conv1.lora_A.weight');
    expect(peft.tensors.has('unet.up_blocks.0.upsamplers.0.conv.lora_B.weight')).toBe(true);
    const scales = JSON.parse(peft.metadata.get('lora_adapter_metadata')!);
    expect(scales).toMatchObject({ 'text_encoder.r': 4, 'text_encoder_2.lora_alpha': 16 });
    const kohya = await convert(peft.path, 'kohya');
    expect(kohya.tensors).toEqual(mixed);
    expect(kohya.metadata.has('lora_adapter_metadata')).toBe(false);
    const diffusers = await convert(kohya.path, 'diffusers');
    const key = 'text_encoder_2.text_model.encoder.layers.3.self_attn.q_proj.lora_linear_layer.up.weight';
    expect(diffusers.tensors.get(key)).toEqual(f16([6, 8], 'j'));
    expect((await convert(diffusers.path, 'kohya')).tensors).toEqual(mixed);
  }); // biome-ignore format: one line a claim

  test('metadata stays, its hashes are those of the new data', async () => {
    const { metadata, hash } = await convert(await writeMixed(), 'peft');
    expect(metadata.get('ss_output_name')).toBe('mixed');
    expect(metadata.get('sshs_model_hash')).toBe(hash);
    expect(metadata.get('sshs_legacy_hash')).toBe('e3b0c442');
    expect(metadata.get('modelspec.hash_sha256')).toBe(`0x${hash}`);
    expect(metadata.get('format')).toBe('pt');
  });
});

test('folded alphas: the same change without a scale', async () => {
  const { tensors, scaleNotice } = await convert(await writeMixed(), 'kohya', true);
  expect(scaleNotice).toBeNull();
  const name = 'lora_unet_input_blocks_4_1_proj_in';
  const [up, before] = [tensors, mixed].map((of) => of.get(`${name}.lora_up.weight`)!.data);
  // Halved: one less in the exponent of a half float, which is exact.
  expect(Array.from(up as Uint16Array, (bits) => bits + (1 << 10))).toEqual([...before!]);
  expect(tensors.get(`${name}.alpha`)).toEqual({ dtype: 'f16', shape: [], data: f32ToF16([4]) });
  const plain = 'lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight';
  expect(tensors.get(plain)).toEqual(mixed.get(plain));
});

test('folding is refused where a value would leave its number format', async () => {
  const name = 'lora_unet_mid_block_attentions_0_proj_in';
  const tensors = new Map<string, Tensor>([
    [`${name}.lora_down.weight`, f16([1, 4], 'a')],
    [`${name}.lora_up.weight`, { dtype: 'f16', shape: [1, 1], data: f32ToF16([60000]) }],
    [`${name}.alpha`, f32([], [8])],
  ]);
  await writeSafetensors(at('a.safetensors'), tensors);
  await expect(convert(at('a.safetensors'), 'peft', true)).rejects.toThrow('too large for F16');
});

describe('files of other trainers', () => {
  const layer = 'mid_block.attentions.0.transformer_blocks.0.attn2.to_k';
  const down = f32([4, 2048], normals([4, 2048], 'a'));
  const up = f32([6, 4], normals([6, 4], 'b'));
  const kohyaName = 'lora_unet_middle_block_1_transformer_blocks_0_attn2_to_k';

  test.each([
    ['PEFT', `unet.${layer}.lora_A.weight`, `unet.${layer}.lora_B.weight`],
    ['PEFT with its adapter’s name', `unet.${layer}.lora_A.default.weight`, `unet.${layer}.lora_B.default.weight`],
    ['diffusers of 2023', `unet.${layer.replace('to_k', 'processor.to_k_lora')}.down.weight`, `unet.${layer.replace('to_k', 'processor.to_k_lora')}.up.weight`],
    ['a mixture', `lora_unet_${layer.replaceAll('.', '_')}.lora_A.weight`, `unet.${layer}.lora.up.weight`],
  ])('%s becomes kohya’s, for SDXL by the size of its text', async (_, downKey, upKey) => {
    await writeSafetensors(at('a.safetensors'), new Map([[downKey, down], [upKey, up]]));
    const { tensors, metadata } = await convert(at('a.safetensors'), 'kohya');
    expect(tensors).toEqual(new Map<string, Tensor>([
      [`${kohyaName}.alpha`, f32([], [4])],
      [`${kohyaName}.lora_down.weight`, down],
      [`${kohyaName}.lora_up.weight`, up],
    ]));
    // Without these the web UI would list it among those for SD 1.x.
    expect(metadata.get('ss_base_model_version')).toBe('sdxl_base_v1-0');
    expect([metadata.get('ss_v2'), metadata.get('ss_network_dim')]).toEqual(['False', '4']);
  }); // biome-ignore format: a table

  test('a folder of PEFT with its configuration, rank-stabilized', async () => {
    const prefix = `base_model.model.${layer}`;
    const tensors = new Map([[`${prefix}.lora_A.weight`, down], [`${prefix}.lora_B.weight`, up]]); // biome-ignore format: one line
    await writeSafetensors(at('adapter_model.safetensors'), tensors);
    writeFileSync(at('adapter_config.json'), JSON.stringify({ r: 4, lora_alpha: 6, alpha_pattern: null }));
    const alpha = async () => (await convert(at('adapter_model.safetensors'), 'kohya')).tensors.get(`${kohyaName}.alpha`)?.data[0];
    expect(await alpha()).toBe(6);
    writeFileSync(at('adapter_config.json'), JSON.stringify({ r: 4, lora_alpha: 6, use_rslora: true, alpha_pattern: { 'attn2.to_k': 3 } }));
    expect(await alpha()).toBe(6);
    writeFileSync(at('adapter_config.json'), '[');
    await expect(alpha()).rejects.toThrow('adapter_config.json is no JSON object');
    writeFileSync(at('adapter_config.json'), JSON.stringify({ use_dora: true }));
    await expect(alpha()).rejects.toThrow('DoRA');
    writeFileSync(at('adapter_config.json'), JSON.stringify({ alpha_pattern: { '(a+)+$': 1 } }));
    await expect(alpha()).rejects.toThrow('cannot be read');
  }); // biome-ignore format: one line a claim
});

describe('what is refused', () => {
  const name = 'lora_unet_mid_block_attentions_0_proj_in';
  const sound = { [`${name}.lora_down.weight`]: [2, 4], [`${name}.lora_up.weight`]: [4, 2] };
  const without = (key: string) =>
    Object.fromEntries(Object.entries(sound).filter(([k]) => !k.includes(key)));

  test.each([
    ['a checkpoint', { 'model.diffusion_model.out.2.weight': [4, 4] }, 'this is no LoRA'],
    ['nothing', {}, 'this is no LoRA'],
    ['LoHa', { [`${name}.hada_w1_a`]: [4, 2] }, 'this is a LoHa'],
    ['DoRA', { ...sound, [`${name}.dora_scale`]: [4, 1] }, 'this is a DoRA'],
    ['a third factor', { ...sound, [`${name}.lora_mid.weight`]: [2, 2, 3, 3] }, 'Tucker'],
    ['Flux', { 'transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight': [2, 4] }, 'for another model'],
    ['a layer that is none', { ...sound, 'lora_unet_what_0.lora_up.weight': [2, 4] }, '1 of its 3 tensors belong to no layer'],
    ['one factor', without('down'), 'both factors are needed'],
    ['one factor', without('up'), 'both factors are needed'],
    ['an alpha alone', { ...sound, 'lora_unet_mid_block_attentions_0_proj_out.alpha': [] }, 'both factors are needed'],
    ['ranks that differ', { ...sound, [`${name}.lora_up.weight`]: [4, 3] }, 'do not fit'],
    ['an alpha of many', { ...sound, [`${name}.alpha`]: [2] }, 'is no number'],
    ['a layer twice', { ...sound, 'unet.mid_block.attentions.0.proj_in.lora_A.weight': [2, 4] }, 'are the same'],
  ] as const)('%s', async (_, shapes, message) => {
    const tensors = Object.entries(shapes).map(([key, shape]) => [key, f32(shape)] as const);
    await writeSafetensors(at('a.safetensors'), new Map(tensors));
    await expect(convert(at('a.safetensors'), 'kohya')).rejects.toThrow(message);
  }); // biome-ignore format: a table
});
