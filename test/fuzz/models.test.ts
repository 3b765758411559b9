/** @file Adapters and checkpoints that are wrong in every way that a sound file allows. */

import { rmSync } from 'node:fs';
import { expect, test, vi } from 'vitest';
import { runConvert } from '../../src/cli/convert/run-convert.ts';
import { runInspect } from '../../src/cli/inspect/run-inspect.ts';
import { kohyaMetadata } from '../../src/export/kohya-metadata.ts';
import { sd1CheckpointKey } from '../../src/models/sd1/key-map.ts';
import { sd1TensorShapes } from '../../src/models/sd1/tensor-shapes.ts';
import { Rng } from '../../src/tensor/rng.ts';
import type { Shape } from '../../src/tensor/shape.ts';
import { openBase } from '../../src/train/open-base.ts';
import { recordingTerminal } from '../cli/recording-terminal.ts';
import { tinySizes } from '../cli/tiny-run.ts';
import { plainRun } from '../export/run-description.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';
import { damagedModel, type ModelFile, writeModel } from './damaged-model.ts';
import { guardCases, runCases } from './survives.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });
const at = temporaryFolder();
guardCases();

const all = { metadata: true, tensors: true, modules: true };
const f16 = (shape: Shape) => ({ type: 'F16', shape });

const block = 'lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k';
const text = 'text_encoder.text_model.encoder.layers.0.mlp.fc1';
const adapter: ModelFile = {
  tensors: new Map([
    [`${block}.lora_down.weight`, f16([2, 768])],
    [`${block}.lora_up.weight`, f16([4, 2])],
    [`${block}.alpha`, f16([])],
    ['lora_unet_down_blocks_0_resnets_0_conv1.lora_down.weight', f16([2, 4, 3, 3])],
    ['lora_unet_down_blocks_0_resnets_0_conv1.lora_up.weight', f16([4, 2, 1, 1])],
    [`${text}.lora_A.weight`, f16([2, 8])],
    [`${text}.lora_B.weight`, f16([8, 2])],
    ['lora_te2_text_model_encoder_layers_0_mlp_fc1.hada_w1_a', f16([8, 2])],
    ['lora_te2_text_model_encoder_layers_0_mlp_fc1.hada_w1_b', f16([2, 8])],
  ]),
  metadata: new Map([
    ...kohyaMetadata(plainRun, { steps: 5, epoch: 1, finishedAt: 0 }),
    ['sshs_model_hash', '00'],
  ]),
};

/** Of CLIP's whole vocabulary, else none would be opened; narrow, to be written quickly. */
const width = 8;
const sizes = {
  ...tinySizes,
  unet: { ...tinySizes.unet, contextChannels: width },
  text: { ...tinySizes.text, hidden: width, inner: width },
};
const checkpoint: ModelFile = {
  tensors: new Map(
    Array.from(sd1TensorShapes(sizes), ([name, shape]) => [
      sd1CheckpointKey(name, sizes),
      f16(shape),
    ]),
  ),
  metadata: new Map([['modelspec.title', 'tiny']]),
};

test('inspect of adapters', async () => {
  const { read, refused } = await runCases('adapters', 1500, async (i) => {
    const path = at(`${i}.safetensors`);
    writeModel(path, damagedModel(new Rng(7, 'adapter', i), adapter));
    const terminal = recordingTerminal();
    try {
      await runInspect(path, { ...all, json: i % 2 === 0 }, terminal);
    } finally {
      rmSync(path);
    }
    const page = terminal.out().replaceAll('\n', '');
    if (i % 2 === 1 && /[\p{Cc}\u202e]/u.test(page)) expect.fail(`case ${i}: ${page}`);
    if (i % 2 === 0) JSON.parse(terminal.out());
  });
  expect(read).toBeGreaterThan(1200);
  expect(read + refused).toBe(1500);
});

const convertible: ModelFile = {
  tensors: new Map([...adapter.tensors].filter(([name]) => !name.includes('hada'))),
  metadata: new Map([
    ...adapter.metadata,
    ['lora_adapter_metadata', '{"text_encoder.lora_alpha":4,"unet.alpha_pattern":{"to_q":1}}'],
  ]),
};

test('conversion of adapters', async () => {
  const formats = ['kohya', 'diffusers', 'peft'];
  const { read, refused, reasons } = await runCases('conversions', 1000, async (i) => {
    const [path, output] = [at(`${i}.safetensors`), at(`${i}-out.safetensors`)];
    writeModel(path, damagedModel(new Rng(7, 'convert', i), convertible));
    const format = formats[i % 3]!;
    const options = { format, output, 'fold-alpha': i % 2 === 0, force: false };
    try {
      await runConvert(path, options, recordingTerminal());
      // What was written is an adapter again, whatever it came from.
      await runInspect(output, { ...all, json: true }, recordingTerminal());
    } finally {
      rmSync(path);
      rmSync(output, { force: true });
    }
  });
  expect(read).toBeGreaterThan(50);
  expect(refused).toBeGreaterThan(500);
  expect(reasons.size).toBeGreaterThan(10);
});

test('opening checkpoints', async () => {
  const { read, refused, reasons } = await runCases('checkpoints', 500, async (i) => {
    const path = at(`${i}.safetensors`);
    const rng = new Rng(7, 'checkpoint', i);
    writeModel(path, damagedModel(rng, checkpoint));
    try {
      const base = await openBase(path, null);
      try {
        for (const name of base.checkpoint.shapes.keys()) base.checkpoint.read(name);
      } finally {
        base.close();
      }
    } finally {
      rmSync(path);
    }
  });
  expect(read).toBeGreaterThan(5);
  expect(refused).toBeGreaterThan(300);
  expect(reasons.size).toBeGreaterThan(20);
});
