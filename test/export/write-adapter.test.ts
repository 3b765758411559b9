/** @file Adapter files: their bytes, their hashes, and what is refused. */

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type AdapterModule, adapterFile } from '../../src/export/adapter-file.ts';
import { kohyaMetadata } from '../../src/export/kohya-metadata.ts';
import { readAdapter } from '../../src/export/read-adapter.ts';
import { writeAdapter } from '../../src/export/write-adapter.ts';
import { f16Bits } from '../../src/tensor/half.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { f32 } from '../../src/tensor/tensor.ts';
import { UserError } from '../../src/tensor/user-error.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import { tiny } from '../weights/golden-vectors.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';
import { plainRun } from './run-description.ts';

const at = temporaryFolder();
const rng = new Rng(3, 'adapter');

const linear: AdapterModule = {
  name: 'lora_te_text_model_encoder_layers_0_mlp_fc1',
  down: f32([2, 3], rng.normals(6)),
  up: f32([4, 2], rng.normals(8)),
  alpha: 1,
};
const conv: AdapterModule = {
  name: 'lora_unet_mid_block_attentions_0_proj_in',
  down: f32([2, 3, 3, 3], rng.normals(54)),
  up: f32([4, 2, 1, 1], rng.normals(8)),
  alpha: 0.5,
};
const metadata = kohyaMetadata(plainRun, { steps: 5, epoch: 1, finishedAt: 1722503600.5 });
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

const withValue = (value: number): AdapterModule => ({
  ...linear,
  up: f32([4, 2], [0, 0, 0, value, 0, 0, 0, 0]),
});

describe('writeAdapter', () => {
  test.each([
    ['f16', 2 ** -11],
    ['bf16', 2 ** -8],
    ['f32', 0],
  ] as const)('%s: names, shapes, types, values and hashes', async (precision, rtol) => {
    const path = at('a.safetensors');
    const hash = await writeAdapter({ path, modules: [conv, linear], metadata, precision });
    const file = await openSafetensors(path);
    const entries = Array.from(file.entries, ([name, { dtype, shape }]) => [name, dtype, shape]);
    expect(entries).toEqual([
      [`${linear.name}.alpha`, precision, []],
      [`${linear.name}.lora_down.weight`, precision, [2, 3]],
      [`${linear.name}.lora_up.weight`, precision, [4, 2]],
      [`${conv.name}.alpha`, precision, []],
      [`${conv.name}.lora_down.weight`, precision, [2, 3, 3, 3]],
      [`${conv.name}.lora_up.weight`, precision, [4, 2, 1, 1]],
    ]);
    for (const { name, down, up, alpha } of [conv, linear]) {
      const tolerance = { rtol, atol: 2 ** -25 };
      expect(await file.readF32(`${name}.lora_down.weight`)).toBeAllClose(down.data, tolerance);
      expect(await file.readF32(`${name}.lora_up.weight`)).toBeAllClose(up.data, tolerance);
      expect(Array.from(await file.readF32(`${name}.alpha`))).toEqual([alpha]);
    }
    expect([...file.metadata].slice(0, -2)).toEqual([...metadata]);
    expect([...file.metadata.keys()].slice(-2)).toEqual(['sshs_model_hash', 'sshs_legacy_hash']);
    expect(file.metadata.get('sshs_legacy_hash')).toBe('e3b0c442');
    const bytes = readFileSync(path);
    expect(hash).toBe(sha256(bytes.subarray(file.dataStart)));
    expect(file.metadata.get('sshs_model_hash')).toBe(hash);
    expect(bytes.subarray(8, 10).toString()).toBe('{"');
    expect(file.dataStart % 8).toBe(0);
    expect(readdirSync(at())).toEqual(['a.safetensors']);
    file.close();
  });

  test('the same arguments give the same bytes, whatever the order of modules', async () => {
    const options = { metadata, precision: 'f16' } as const;
    await writeAdapter({ ...options, path: at('a.safetensors'), modules: [conv, linear] });
    await writeAdapter({ ...options, path: at('b.safetensors'), modules: [linear, conv] });
    expect(readFileSync(at('a.safetensors')).equals(readFileSync(at('b.safetensors')))).toBe(true);
  });

  test.each([
    ['f16', Number.NaN, 'has the value NaN at 3'],
    ['f32', Number.POSITIVE_INFINITY, 'has the value Infinity at 3'],
    ['f16', 65520, 'too large for f16; save as bf16 or f32'],
    ['f16', -7e4, 'too large for f16'],
    ['bf16', 3.4e38, 'too large for bf16; save as f32'],
  ] as const)('%s: %f is refused before anything is written', async (precision, value, message) => {
    writeFileSync(at('a.safetensors'), 'old');
    const writing = writeAdapter({
      path: at('a.safetensors'),
      modules: [conv, withValue(value)],
      metadata,
      precision,
    });
    await expect(writing).rejects.toThrow(UserError);
    await expect(writing).rejects.toThrow(`${linear.name}.lora_up.weight has the value`);
    await expect(writing).rejects.toThrow(message);
    expect(readFileSync(at('a.safetensors'), 'utf8')).toBe('old');
    expect(readdirSync(at())).toEqual(['a.safetensors']);
  });

  test('the largest values that fit are written', async () => {
    const path = at('a.safetensors');
    await writeAdapter({ path, modules: [withValue(65519)], metadata, precision: 'f16' });
    const file = await openSafetensors(path);
    expect((await file.readF32(`${linear.name}.lora_up.weight`))[3]).toBe(65504);
    file.close();
  });

  test('a file that reads back differently is not kept', async () => {
    // The values change between the moment they are checked and the moment they are compared.
    const down = f32([2, 3], rng.normals(6));
    const changing: AdapterModule = {
      ...linear,
      down: { ...down, data: new Float32Array(down.data) },
    };
    const writing = writeAdapter({
      path: at('a.safetensors'),
      modules: [changing],
      metadata,
      precision: 'f16',
    });
    changing.down.data[4] = 9;
    await expect(writing).rejects.toThrow('reads back differently');
    expect(readdirSync(at())).toEqual([]);
  });

  test('a name or shapes that no reader would take are our bug', () => {
    const broken: AdapterModule[] = [
      { ...linear, name: 'a.b' },
      { ...linear, up: f32([4, 3]) },
      { ...conv, up: f32([4, 2]) },
      { ...conv, up: f32([4, 2, 3, 3]) },
    ];
    for (const module of broken) {
      expect(() => adapterFile([module], metadata, 'f16')).toThrow('internal');
    }
    expect(() => adapterFile([linear, linear], metadata, 'f16')).toThrow('internal');
  });
});

test.each(['diffusers', 'peft'] as const)(
  'names of %s, with the scale beside them',
  async (format) => {
    const path = at(`${format}.safetensors`);
    const name = 'lora_unet_mid_block_attentions_0_proj_in';
    const module: AdapterModule = { name, down: f32([2, 3]), up: f32([4, 2]), alpha: 1 };
    const naming = { format, family: 'sd1' } as const;
    await writeAdapter({ path, modules: [module], metadata, precision: 'f16', naming });
    const file = await openSafetensors(path);
    const part = format === 'peft' ? 'lora_A' : 'lora.down';
    expect([...file.entries.keys()][0]).toBe(`unet.mid_block.attentions.0.proj_in.${part}.weight`);
    expect(file.entries.size).toBe(2);
    expect(readAdapter(file).layers[0]?.alpha).toBe(1);
    expect(file.metadata.get('ss_output_name')).toBe(metadata.get('ss_output_name'));
    file.close();
  },
);

describe('adapterFile', () => {
  test('puts its own hashes in the place of given ones', () => {
    const { metadata: made, modelHash } = adapterFile([linear], tiny.metadata, 'f16');
    expect([...made.keys()]).toEqual([...tiny.metadata.keys()]);
    expect(made.get('sshs_model_hash')).toBe(modelHash);
    expect(modelHash).not.toBe(tiny.expected.sshs_model_hash);
  });

  test('the legacy hash is that of a file without modelspec and hashes', () => {
    const module: AdapterModule = { ...linear, down: f32([300_000, 1]), up: f32([1, 300_000]) };
    module.down.data.forEach((_, i) => {
      module.down.data[i] = i % 1000;
    });
    const fields = new Map([
      ['modelspec.title', 'moved behind'],
      ['ss_network_dim', '32'],
    ]);
    const { metadata: made } = adapterFile([module], fields, 'f16');
    expect([...made.keys()].slice(0, 2)).toEqual(['ss_network_dim', 'modelspec.title']);
    const header =
      `{"__metadata__":{"ss_network_dim":"32"},"${linear.name}.alpha":{"dtype":"F16","shape":[],"data_offsets":[0,2]},` +
      `"${linear.name}.lora_down.weight":{"dtype":"F16","shape":[300000,1],"data_offsets":[2,600002]},` +
      `"${linear.name}.lora_up.weight":{"dtype":"F16","shape":[1,300000],"data_offsets":[600002,1200002]}}`;
    const start = 8 + Math.ceil(header.length / 8) * 8;
    const file = Buffer.alloc(start + 1_200_002);
    file.writeUInt16LE(f16Bits(1), start);
    for (let i = 0; i < 300_000; i++) file.writeUInt16LE(f16Bits(i % 1000), start + 2 + 2 * i);
    const window = file.subarray(0x100000, 0x110000);
    expect(made.get('sshs_legacy_hash')).toBe(sha256(window).slice(0, 8));
  });

  test('the header of the largest adapter stays below 1 MiB', () => {
    const tags = new Map(Array.from({ length: 30_000 }, (_, i) => [`名前 ${i}`, 1]));
    const folder = { ...plainRun.dataset.folders[0]!, tags };
    const run = { ...plainRun, dataset: { ...plainRun.dataset, folders: [folder] } };
    const fields = kohyaMetadata(run, { steps: 1, epoch: 1, finishedAt: 0 });
    // SDXL, every module of the table: 1052, with names of up to 78 characters.
    const modules = Array.from({ length: 1052 }, (_, i) => ({
      ...linear,
      name: `lora_unet_output_blocks_0_1_transformer_blocks_${i}_attn1_to_out_0`.padEnd(72, '_'),
    }));
    const [header] = adapterFile(modules, fields, 'bf16').chunks;
    expect(header!.length).toBeLessThan(1024 * 1024);
    expect(header!.length).toBeGreaterThan(900 * 1024);
  });
});
