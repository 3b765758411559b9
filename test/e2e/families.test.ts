/** @file Every family, from pictures and captions to an adapter that does in a merge what it did in training. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import { loraAdapter } from '../../src/lora/lora-adapter.ts';
import { loraLayout } from '../../src/lora/lora-layout.ts';
import { loraValues } from '../../src/lora/lora-modules.ts';
import { targetModules } from '../../src/lora/target-modules.ts';
import type { Checkpoint } from '../../src/models/checkpoint.ts';
import { createClipTokenizer } from '../../src/models/clip-tokenizer.ts';
import type { FamilyId } from '../../src/models/model-family.ts';
import { encodedText, predict, unetFeeds, wholeFrame } from '../../src/models/networks.ts';
import { openCheckpoint } from '../../src/models/single-file.ts';
import type { ParameterSource } from '../../src/runtime/executor.ts';
import { createOnnxExecutor } from '../../src/runtime/onnx/onnx-executor.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { f32 } from '../../src/tensor/tensor.ts';
import { tokenFeeds } from '../../src/train/text-encoding.ts';
import { openSafetensors, type SafetensorsFile } from '../../src/weights/safetensors-file.ts';
import { run } from '../cli/recording-terminal.ts';
import { tinyConfig, writePictures } from '../cli/tiny-run.ts';
import { writeTinyFolder, writeTinyModel } from '../helpers/tiny-models.ts';

vi.setConfig({ testTimeout: 300_000, hookTimeout: 60_000 });

let folder = '';
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sdl-train-families-'));
  await writePictures(at('images'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Trains on a family's small model; `more` are further settings. */
async function train(family: FamilyId, ...more: string[]) {
  await writeTinyModel(at(`${family}.safetensors`), family);
  writeFileSync(at('run.yaml'), tinyConfig(folder));
  const settings = [
    `base=${at(`${family}.safetensors`)}`,
    `output.dir=${at(family)}`,
    'output.precision=f32',
    // Scales other than 1, and another one for the kernels.
    'lora.alpha=3',
    'lora.convRank=1',
    'lora.convAlpha=0.5',
    'train.steps=3',
    'train.learningRate=0.05',
    'train.textEncoderLearningRate=0.05',
    ...more,
  ];
  return run('--config', at('run.yaml'), '--restart', ...settings.flatMap((one) => ['--set', one]));
}

/** W + (alpha / rank)·up·down for the modules of a file, by the paths of their layers. */
function mergedWeights(
  base: Checkpoint,
  adapter: SafetensorsFile,
  pathOf: ReadonlyMap<string, string>,
): ParameterSource {
  const merged = new Map<string, Float32Array>();
  for (const [name, path] of pathOf) {
    const [rank, ...inner] = adapter.entries.get(`${name}.lora_down.weight`)!.shape;
    const columns = inner.reduce((n, d) => n * d, 1);
    const down = adapter.readF32Sync(`${name}.lora_down.weight`);
    const up = adapter.readF32Sync(`${name}.lora_up.weight`);
    const scale = adapter.readF32Sync(`${name}.alpha`)[0]! / rank!;
    const values = base.read(`${path}.weight`).slice();
    for (let i = 0; i < values.length; i++) {
      const [o, c] = [Math.floor(i / columns), i % columns];
      let sum = 0;
      for (let r = 0; r < rank!; r++) sum += up[o * rank! + r]! * down[r * columns + c]!;
      values[i] = values[i]! + scale * sum;
    }
    merged.set(`${path}.weight`, values);
  }
  return { read: (name) => merged.get(name) ?? base.read(name) };
}

/** What the UNet says to one noise and one caption, on these weights, with this adapter or without. */
async function output(
  base: Checkpoint,
  parameters: ParameterSource,
  adapter: SafetensorsFile | null,
): Promise<Float32Array> {
  const executor = createOnnxExecutor({ parameters, threads: 1 });
  const g = new GraphBuilder();
  const modules = targetModules(base, { convolutions: true });
  const ranks = { rank: 2, alpha: 3, convRank: 1, convAlpha: 0.5 };
  const layouts = adapter
    ? (['unet', 'text_encoder'] as const).map((group) => loraLayout(group, modules, ranks))
    : [];
  for (const layout of layouts) {
    const factors = modules.map(({ name }) => {
      const tensor = (part: string) => {
        const key = `${name}.${part}.weight`;
        return f32(adapter!.entries.get(key)!.shape, adapter!.readF32Sync(key));
      };
      const alpha = adapter!.readF32Sync(`${name}.alpha`)[0]!;
      return { name, down: tensor('lora_down'), up: tensor('lora_up'), alpha };
    });
    const values = loraValues(layout, factors, adapter!.path);
    executor.writeVariable(layout.variable, f32([layout.size], values));
  }
  const lora = adapter ? loraAdapter(g, layouts) : undefined;
  const clipSkip = base.family.fixedClipSkip ?? 1;
  const text = encodedText(g, base, { batch: 1, chunks: 1 }, { clipSkip, adapter: lora });
  const shape = [1, 4, 8, 8];
  const out = predict(g, base, g.input('latents', shape), text, { adapter: lora });
  const executable = await executor.compile(g.build({ out }));
  const words = { tokenizer: createClipTokenizer(), maxTokens: 75 };
  const results = await executable.run({
    latents: f32(shape, new Rng(3, 'latents').normals(256)),
    ...tokenFeeds(base.family, ['zibbo, a picture'], words),
    ...unetFeeds(base, [500], [wholeFrame({ width: 64, height: 64 })]),
  });
  await executor.dispose();
  return results['out']!.data as Float32Array;
}

const distance = (a: Float32Array, b: Float32Array) =>
  a.reduce((max, value, i) => Math.max(max, Math.abs(value - b[i]!)), 0);

const families = [
  ['sd1', 'SD1', 'sd_v1', 'False', []],
  ['sd2', 'SD2', 'sd_v2_v', 'True', ['train.predictionType=v_prediction']],
  ['sdxl', 'SDXL', 'sdxl_base_v1-0', 'False', []],
] as const;

describe.each(families)('%s', (family, card, version, v2, settings) => {
  test('trains, and says what it has trained', async () => {
    const { code, out, err } = await train(
      family,
      ...settings,
      'data.emphasis=true',
      'preview.prompts=[a (zibbo:1.2)]',
      'preview.steps=2',
    );
    expect([code, err.match(/warning/)]).toEqual([0, null]);
    expect(out).toContain('LoRA: ');
    const adapter = await openSafetensors(at(`${family}/zibbo.safetensors`));
    expect(adapter.metadata.get('ss_base_model_version')).toBe(version);
    expect(adapter.metadata.get('ss_v2')).toBe(v2);
    const base = await openSafetensors(at(`${family}.safetensors`));
    const modules = targetModules(openCheckpoint(base), { convolutions: true });
    expect(adapter.entries.size).toBe(3 * modules.length);
    const moved = modules.filter(({ name }) =>
      adapter.readF32Sync(`${name}.lora_up.weight`).some((value) => value !== 0),
    );
    // The last block of SDXL's first text encoder is beyond the layer that is read.
    const idle = family === 'sdxl' ? 6 : 0;
    expect(moved).toHaveLength(modules.length - idle);
    const json = JSON.parse(readFileSync(at(`${family}/zibbo.json`), 'utf8')) as object;
    expect(json).toMatchObject({ 'sd version': card });
    adapter.close();
    base.close();
  });

  test('its adapter merged into the weights does what it did in the graph', async () => {
    const file = await openSafetensors(at(`${family}.safetensors`));
    const adapter = await openSafetensors(at(`${family}/zibbo.safetensors`));
    const base = openCheckpoint(file);
    const modules = targetModules(base, { convolutions: true });
    const names = new Map(modules.map(({ name, path }) => [name, path]));
    expect(adapter.entries.size).toBe(3 * names.size);
    const before = await output(base, base, null);
    const trained = await output(base, base, adapter);
    const merged = await output(base, mergedWeights(base, adapter, names), null);
    const largest = Math.max(...trained.map(Math.abs));
    expect(distance(before, trained)).toBeGreaterThan(0.01 * largest);
    expect(distance(merged, trained)).toBeLessThan(1e-4 * largest);
    adapter.close();
    file.close();
  });

  test('frozen text encoders encode all captions once, with shuffles and dropout', async () => {
    const more = [
      'lora.textEncoder=false',
      'train.textEncoderLearningRate=null',
      'data.shuffleTags=true',
      'data.captionVariants=3',
      'data.captionDropout=0.3',
      'output.name=unet',
      'preview.prompts=[a zibbo]',
      'preview.steps=2',
    ];
    const again = async () => {
      expect((await train(family, ...settings, ...more)).code).toBe(0);
      const log = readFileSync(at(`${family}/.sdl-train/unet/log.jsonl`), 'utf8').trim();
      const bytes = readFileSync(at(`${family}/unet.safetensors`));
      const texts = log.split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
      return { bytes, texts: texts.findLast((line) => 'captions' in line && 'encoded' in line) };
    };
    const first = await again();
    expect(first.texts).toMatchObject({ encoded: true });
    // Up to three shuffles of each of three captions, no caption, and the preview's prompt.
    expect(first.texts!['captions']).toBeLessThanOrEqual(3 * 3 + 2);
    const adapter = await openSafetensors(at(`${family}/unet.safetensors`));
    expect([...adapter.entries.keys()].filter((key) => !key.startsWith('lora_unet_'))).toEqual([]);
    adapter.close();
    const second = await again();
    expect(second.texts).toMatchObject({ captions: first.texts!['captions'], encoded: false });
    expect(second.bytes.equals(first.bytes)).toBe(true);
  });
});

test('a folder of diffusers is trained on like a file', async () => {
  await writeTinyFolder(at('folder'), 'sd2', { scheduler: { prediction_type: 'v_prediction' } });
  writeFileSync(at('run.yaml'), tinyConfig(folder));
  const { code, out, err } = await run(
    ...['--config', at('run.yaml'), '--set', `base=${at('folder')}`],
    ...['--set', `output.dir=${at('from-folder')}`],
  );
  expect(code).toBe(0);
  expect(out).toMatch(/base +.*folder: Stable Diffusion 2\.x/);
  expect(err).toContain('predicts velocity (v-prediction), its scheduler_config.json');
  const adapter = await openSafetensors(at('from-folder/zibbo.safetensors'));
  expect(adapter.metadata.get('ss_base_model_version')).toBe('sd_v2_v');
  adapter.close();
});

test('SD 2.x of which nothing tells what it predicts is asked for', async () => {
  const { code, err } = await train('sd2', 'output.name=unknown');
  expect(code).toBe(1);
  expect(err).toContain('set train.predictionType: v_prediction for 2.x models');
});

test('a marked base is trained by its marks, and a configuration against them is warned about', async () => {
  writeFileSync(at('run.yaml'), tinyConfig(folder));
  await writeTinyModel(at('sdxl.safetensors'), 'sdxl', (tensors) => {
    tensors.set('v_pred', f32([0]));
    tensors.set('ztsnr', f32([0]));
  });
  const settings = [`base=${at('sdxl.safetensors')}`, `output.dir=${at('noob')}`];
  const set = (...more: string[]) => [...settings, ...more].flatMap((one) => ['--set', one]);
  const marked = await run('--config', at('run.yaml'), ...set());
  expect(marked.code).toBe(0);
  expect(marked.err).toContain('SDXL, predicts velocity (v-prediction), its key v_pred');
  const adapter = await openSafetensors(at('noob/zibbo.safetensors'));
  expect(adapter.metadata.get('modelspec.prediction_type')).toBe('v');
  expect(adapter.metadata.get('ss_zero_terminal_snr')).toBe('True');
  adapter.close();
  const against = await run(
    '--config',
    at('run.yaml'),
    ...set('train.predictionType=epsilon', 'train.zeroTerminalSnr=false', 'output.name=other'),
  );
  expect(against.code).toBe(0);
  expect(against.err).toMatch(/warning: train\.predictionType is epsilon, but the base predicts/);
});
