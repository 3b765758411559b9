/** @file A model opens from a file and from a folder alike, and folders that are something else are told. */

import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { f16ToF32 } from '../../src/tensor/half.ts';
import { openBase } from '../../src/train/open-base.ts';
import { openModel } from '../../src/train/open-model.ts';
import { writeTinyFolder, writeTinyModel } from '../helpers/tiny-models.ts';

let folder = '';
const at = (...names: string[]) => join(folder, ...names);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sdl-train-open-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each(['sd1', 'sd2', 'sdxl'] as const)('%s has the same weights from both', async (family) => {
  await writeTinyModel(at(`${family}.safetensors`), family);
  await writeTinyFolder(at(family), family, { shards: 3 });
  const file = await openModel(at(`${family}.safetensors`), null);
  const parts = await openModel(at(family), null);
  expect(parts.checkpoint.family.id).toBe(family);
  expect(parts.checkpoint.sizes).toEqual(file.checkpoint.sizes);
  expect(parts.checkpoint.unknownKeys).toEqual([]);
  expect([...parts.checkpoint.shapes.keys()]).toEqual([...file.checkpoint.shapes.keys()]);
  const bytes = ({ buffer }: Float32Array) => Buffer.from(buffer);
  const differing = [...file.checkpoint.shapes.keys()].filter(
    (name) => !bytes(parts.checkpoint.read(name)).equals(bytes(file.checkpoint.read(name))),
  );
  expect(differing).toEqual([]);
  file.close();
  parts.close();
});

test.each(['sd1', 'sd2', 'sdxl'] as const)('%s has the same values in 16 bits', async (family) => {
  await writeTinyModel(at(`${family}.safetensors`), family);
  const { checkpoint, close } = await openModel(at(`${family}.safetensors`), null);
  const names = [...checkpoint.shapes.keys()];
  const stored = names.filter((name) => checkpoint.half(name));
  // All but what a file has transposed.
  expect(stored.length).toBeGreaterThan(0.98 * names.length);
  for (const name of stored) {
    const { type, read } = checkpoint.half(name)!;
    expect([type, f16ToF32(read())], name).toEqual(['f16', checkpoint.read(name)]);
  }
  close();
});

test('damage is told of weights in 16 bits, too', async () => {
  const key = 'model.diffusion_model.time_embed.0.weight';
  await writeTinyModel(at('nan.safetensors'), 'sd1', (tensors) => {
    (tensors.get(key)!.data as Uint16Array)[3] = 0x7e00;
  });
  const { checkpoint, close } = await openModel(at('nan.safetensors'), null);
  const weight = checkpoint.half('unet.time_embedding.linear_1.weight')!;
  expect(() => weight.read()).toThrow(/time_embed\.0\.weight holds NaN at index 3/);
  close();
});

test('a folder is known by all of its files', async () => {
  await writeTinyFolder(at('a'), 'sd1');
  const before = await openBase(at('a'), null);
  before.close();
  expect(before.file).toMatchObject({ name: 'a', sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
  await writeTinyFolder(at('b'), 'sd1', { shards: 2 });
  const other = await openBase(at('b'), null);
  other.close();
  expect(other.file.sha256).not.toBe(before.file.sha256);
});

test('configurations tell heads, prediction, noise and resolution', async () => {
  const scheduler = { prediction_type: 'v_prediction', rescale_betas_zero_snr: true };
  await writeTinyFolder(at('told'), 'sd2', { scheduler });
  writeFileSync(
    at('told/unet/config.json'),
    JSON.stringify({ attention_head_dim: [2, 4], block_out_channels: [64, 64], sample_size: 96 }),
  );
  writeFileSync(at('told/text_encoder/config.json'), JSON.stringify({ num_attention_heads: 4 }));
  const { checkpoint, close } = await openModel(at('told'), null);
  const from = 'its scheduler_config.json';
  expect(checkpoint.hints).toEqual({
    prediction: { value: 'v_prediction', from },
    zeroTerminalSnr: { value: true, from },
    clipSkip: null,
    resolution: 768,
  });
  expect([0, 1].map((level) => checkpoint.heads!.unet!(64, level))).toEqual([2, 4]);
  expect(checkpoint.heads!.text).toEqual([4]);
  close();
});

const refusal = async (path: string) =>
  openModel(path, null).then(
    ({ close }) => close(),
    (error: Error) => error.message,
  );

test('what is no whole folder of a known model is told', async () => {
  mkdirSync(at('empty'));
  expect(await refusal(at('empty'))).toMatch(/this folder has no model_index\.json/);
  const index = at('sd1/model_index.json');
  writeFileSync(index, JSON.stringify({ _class_name: 'StableDiffusion3Pipeline' }));
  expect(await refusal(at('sd1'))).toMatch(/a model for StableDiffusion3Pipeline; one for Stable/);
  writeFileSync(index, '[1]');
  expect(await refusal(at('sd1'))).toMatch(/model_index\.json: this is not a JSON object/);
  writeFileSync(index, '{}');
  const shard = 'unet/diffusion_pytorch_model-2-of-3.safetensors';
  renameSync(at('sd1', shard), at('moved'));
  expect(await refusal(at('sd1'))).toMatch(
    /diffusion_pytorch_model-2-of-3\.safetensors: no such file/,
  );
  const indexOfShards = at('sd1/unet/diffusion_pytorch_model.safetensors.index.json');
  writeFileSync(indexOfShards, JSON.stringify({ weight_map: { 'conv_in.weight': '../../x' } }));
  expect(await refusal(at('sd1'))).toMatch(/which is no file name/);
  rmSync(indexOfShards);
  expect(await refusal(at('sd1'))).toMatch(/there is no diffusion_pytorch_model\.safetensors/);
  writeFileSync(at('sd1/unet/diffusion_pytorch_model.bin'), Buffer.from('PK\x03\x04 and more'));
  expect(await refusal(at('sd1'))).toMatch(/this is a pickle/);
  rmSync(at('sdxl/text_encoder_2'), { recursive: true });
  expect(await refusal(at('sdxl'))).toMatch(/there is no text_encoder_2 folder/);
});

test('a text encoder that cannot read all of CLIP’s tokens is refused', async () => {
  const key = 'cond_stage_model.transformer.text_model.embeddings.token_embedding.weight';
  await writeTinyModel(at('few.safetensors'), 'sd1', (tensors) => {
    const { shape, data } = tensors.get(key)!;
    const rows = 1024;
    const values = data.subarray(0, rows * shape[1]!) as Uint16Array<ArrayBuffer>;
    tensors.set(key, { dtype: 'f16', shape: [rows, shape[1]!], data: values });
  });
  await expect(openModel(at('few.safetensors'), null)).rejects.toThrow(
    /few\.safetensors: its text encoder knows 1024 tokens, CLIP's tokenizer has 49408; use another/,
  );
});

test('another activation or scale than the family’s is refused', async () => {
  await writeTinyFolder(at('odd'), 'sd1');
  writeFileSync(at('odd/vae/config.json'), JSON.stringify({ scaling_factor: 0.3 }));
  expect(await refusal(at('odd'))).toMatch(
    /scales latents by 0\.3, Stable Diffusion 1\.x by 0\.18215/,
  );
  writeFileSync(at('odd/vae/config.json'), JSON.stringify({ scaling_factor: 0.18215 }));
  writeFileSync(at('odd/text_encoder/config.json'), JSON.stringify({ hidden_act: 'gelu' }));
  expect(await refusal(at('odd'))).toMatch(/the activation of its text_encoder is gelu/);
});
