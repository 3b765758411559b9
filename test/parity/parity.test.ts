/** @file The whole harness on the committed golden numbers, and on folders with something wrong. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type ParityOptions, runParity } from '../../scripts/parity/run-parity.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import { writeSafetensors } from '../../src/weights/safetensors-writer.ts';
import { torchMissing } from '../helpers/executors.ts';
import { emptySet, familyFiles, goldenFolder, partialFamily } from './folders.ts';

/** Longest time of a run on a slow, busy machine, in milliseconds. */
const patience = 600_000;

async function run(options: Omit<ParityOptions, 'print' | 'verbose'>) {
  const lines: string[] = [];
  const result = await runParity({ ...options, print: (line) => lines.push(line), verbose: false });
  return { ...result, text: lines.join('\n') };
}

test('onnx agrees with PyTorch in every case', { timeout: patience }, async () => {
  const { failures, passed, text } = await run({ folder: goldenFolder, executors: ['onnx'] });
  expect(failures).toEqual([]);
  // 5 UNet sizes, 408 LoRA and 578 LoCon gradients, 408 trained factors, 493 merged weights, …
  expect(passed).toBeGreaterThan(3000);
  expect(text).toMatch(/^ok +grad\.lora_te_text_model_encoder_layers_0_mlp_fc1\.lora_up\.weight /m);
  expect(text).toMatch(/^ok +grad\.lora_unet_output_blocks_5_1_proj_out\.lora_up\.weight /m);
  for (const family of ['sd15', 'sd21', 'sdxl']) expect(text).toContain(`${family} onnx lora`);
});

test('reference agrees with PyTorch', { timeout: patience }, async () => {
  const cases = ['text', 'unet', 'locon'];
  const folder = join(goldenFolder, 'sd15');
  const { failures, passed } = await run({ folder, executors: ['reference'], cases });
  expect(failures).toEqual([]);
  expect(passed).toBeGreaterThan(600);
});

test('tfjs agrees with PyTorch', { timeout: patience }, async () => {
  const cases = ['vae', 'text', 'unet', 'lora', 'locon', 'train'];
  const folder = join(goldenFolder, 'sd15');
  const { failures, passed } = await run({ folder, executors: ['tfjs'], cases });
  expect(failures).toEqual([]);
  expect(passed).toBeGreaterThan(1400);
});

const onTorch = test.skipIf(torchMissing !== undefined);
const skipped = torchMissing === undefined ? '' : ` (skipped: ${torchMissing})`;

onTorch(`torch agrees with PyTorch in every case${skipped}`, { timeout: patience }, async () => {
  const { failures, passed } = await run({ folder: goldenFolder, executors: ['torch'] });
  expect(failures).toEqual([]);
  expect(passed).toBeGreaterThan(2000);
});

onTorch.each(['torch-bf16', 'torch-f16'] as const)(
  `%s agrees within its rounding${skipped}`,
  { timeout: patience },
  async (executor) => {
    const cases = ['vae', 'text', 'unet', 'lora', 'locon', 'samplers'];
    const { failures, passed } = await run({ folder: goldenFolder, executors: [executor], cases });
    expect(failures).toEqual([]);
    expect(passed).toBeGreaterThan(1000);
  },
);

test('a family folder can be given by itself', async () => {
  const { failures, text } = await run({ folder: join(goldenFolder, 'sd15'), cases: ['text'] });
  expect(failures).toEqual([]);
  expect(text).toContain('sd15 onnx text');
  expect(text).toContain('sd15 reference text');
  expect(text).not.toContain('scheduler');
});

test('a wrong number is found', async () => {
  const others = familyFiles.filter((file) => file !== 'forward.safetensors');
  const folder = partialFamily(others);
  const forward = await openSafetensors(join(goldenFolder, 'sd15/forward.safetensors'));
  const tensors = new Map(
    [...forward.entries.keys()].map((name) => [name, forward.readSync(name)]),
  );
  (tensors.get('te1.hidden_1')!.data as Float32Array)[7]! += 1e-3;
  await writeSafetensors(join(folder, 'forward.safetensors'), tensors);
  const { failures, text } = await run({ folder, executors: ['onnx'], cases: ['text'] });
  expect(failures).toEqual(['sd15 onnx text te1.hidden_1']);
  expect(text).toMatch(/^FAIL te1\.hidden_1 +1\.00e-3/m);
});

test('families to come are named, and do not fail', async () => {
  const folder = partialFamily([]);
  const index = { family: 'sd3', files: {} };
  writeFileSync(join(folder, 'index.json'), JSON.stringify(index));
  const { failures, unsupported, text } = await run({ folder });
  expect({ failures, unsupported }).toEqual({ failures: [], unsupported: ['sd3'] });
  expect(text).toContain('sd3: not supported yet');
});

test('missing folders and files are named', async () => {
  await expect(run({ folder: '/no/such/folder' })).rejects.toThrow('no such folder');
  await expect(run({ folder: join(goldenFolder, 'README.md') })).rejects.toThrow('is a file');
  await expect(run({ folder: emptySet([]) })).rejects.toThrow('no golden numbers');
  const folder = partialFamily(['index.json', 'tiny_config.json', 'model.safetensors']);
  await expect(run({ folder, cases: ['vae'] })).rejects.toThrow(
    `${folder}: missing forward.safetensors`,
  );
  const set = emptySet(['sd15']);
  await expect(run({ folder: set, cases: ['text'] })).rejects.toThrow(
    `cannot read ${join(set, 'sd15/index.json')}: no such file`,
  );
  await expect(run({ folder: set })).rejects.toThrow('missing scheduler.safetensors');
});
