/** @file Loading: defaults, derived values, paths, files that are no configuration. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load-config.ts';
import { complaints, load, minimal, refusal } from './fixture.ts';

const folder = mkdtempSync(join(tmpdir(), 'config-'));
afterAll(() => rmSync(folder, { recursive: true }));

const at = (...parts: string[]) => resolve('/home/me', ...parts);

test('the smallest configuration gets all defaults', () => {
  const { config } = load(minimal);
  expect(config.base).toBe(at('model.safetensors'));
  expect(config.output).toMatchObject({ dir: at('models/Lora'), name: 'zibbo', precision: 'f16' });
  expect(config.lora).toEqual({
    rank: 16,
    alpha: 16,
    unet: true,
    textEncoder: true,
    convRank: null,
    convAlpha: 1,
  });
  expect(config.data.folders).toEqual([
    { path: at('images'), repeats: null, prior: false, triggerWord: null, caption: null },
  ]);
  // Those of the base.
  expect(config.data.resolution).toBeNull();
  expect(config.data.cacheDir).toBe(at('models/Lora/.sdl-train/zibbo/cache'));
  expect(config.train).toMatchObject({
    steps: 100,
    epochs: null,
    learningRate: 1e-4,
    unetLearningRate: 1e-4,
    textEncoderLearningRate: 5e-5,
    seed: 42,
  });
  expect(config.preview).toMatchObject({ enabled: false, prompts: [], width: null, height: null });
  expect(config.device).toEqual({
    executor: 'auto',
    provider: 'cpu',
    torchDevice: 'auto',
    cudaGraphs: true,
    fusedKernels: true,
    precision: 'auto',
    libtorch: null,
    tfjsBackend: 'auto',
    threads: null,
    memory: null,
  });
  expect(config.log).toEqual({
    level: 'info',
    file: at('models/Lora/.sdl-train/zibbo/log.jsonl'),
  });
});

test('defaults follow the values that they depend on', () => {
  const { config } = load(
    minimal,
    'lora.rank=4',
    'train.learningRate=2e-4',
    'lora.textEncoder=false',
    'data.resolution=[512, 768]',
    'preview.prompts=[a, {prompt: b, seed: 3}]',
  );
  expect(config.lora.alpha).toBe(4);
  expect(config.train.unetLearningRate).toBe(2e-4);
  expect(config.train.textEncoderLearningRate).toBe(0);
  expect(config.preview).toMatchObject({ enabled: true, width: 512, height: 768 });
  expect(config.data.buckets).toMatchObject({ minSide: 256, maxSide: 1536 });
  expect(config.preview.prompts).toEqual([
    { prompt: 'a', negativePrompt: '', seed: null },
    { prompt: 'b', negativePrompt: '', seed: 3 },
  ]);
});

test('a section without content has its defaults', () => {
  expect(load(`${minimal}lora:\npreview:\n`).config.lora.rank).toBe(16);
});

test("a web UI's folders are found", () => {
  const { config } = load(minimal, 'webui=/opt/webui', 'vae=v.safetensors');
  expect(config.base).toBe(
    join(resolve('/opt/webui'), 'models/Stable-diffusion/model.safetensors'),
  );
  expect(config.vae).toBe(join(resolve('/opt/webui'), 'models/VAE/v.safetensors'));
  expect(config.output.dir).toBe(join(resolve('/opt/webui'), 'models/Lora'));
  const elsewhere = load(minimal, 'webui=ui', 'base=./m.safetensors', 'output.dir=out').config;
  expect(elsewhere.base).toBe(at('m.safetensors'));
  expect(elsewhere.output.dir).toBe(at('out'));
});

test('~/ is the home folder', () => {
  expect(load(minimal, 'base=~/m.safetensors').config.base).toBe(join(homedir(), 'm.safetensors'));
});

test('reads the file relative to cwd, with or without a byte order mark', () => {
  writeFileSync(join(folder, 'a.yaml'), `\ufeff${minimal}`);
  const { config } = loadConfig({ path: 'a.yaml', cwd: folder });
  expect(config.base).toBe(join(folder, 'model.safetensors'));
});

const unreadable: readonly (readonly [string, string | Buffer | null, string])[] = [
  ['missing.yaml', null, 'missing.yaml: no such file; give a configuration'],
  ['.', null, '.: a folder; expected a YAML file'],
  ['empty.yaml', '', 'empty.yaml: the file is empty'],
  ['comment.yaml', '# nothing\n', 'comment.yaml: the file is empty'],
  ['list.yaml', '- base: x\n', 'list.yaml:1: a list at the top'],
  ['text.yaml', 'base model\n', 'text.yaml:1: a text at the top'],
  ['latin.yaml', Buffer.from('a: 1\nb: f\xfcr\n', 'latin1'), 'latin.yaml:2: not UTF-8 text'],
  ['wide.yaml', Buffer.from('\ufeffa: 1', 'utf16le'), 'wide.yaml: saved as UTF-16'],
  ['big.yaml', Buffer.alloc(2 ** 20 + 1, 0x20), 'big.yaml: 1048577 bytes are too many'],
];

test.each(unreadable)('refuses %s', (name, content, message) => {
  if (content !== null) writeFileSync(join(folder, name), content);
  const [line] = refusal(() => loadConfig({ path: name, cwd: folder }));
  expect(line).toContain(message);
});

test('what is required is named with its meaning', () => {
  const lines = complaints('lora:\n  rank: 4\n');
  expect(lines.map((line) => line.slice(0, line.indexOf(' is ')))).toEqual([
    'run.yaml: base',
    'run.yaml: output.name',
    'run.yaml: data.folders',
    'run.yaml: train.steps or train.epochs',
  ]);
  expect(lines[1]).toContain("The adapter's file name");
  expect(complaints(minimal.replace('  name: zibbo', '  dir: x'))[0]).toMatch(
    /^run.yaml:2: output.name is missing/,
  );
});
