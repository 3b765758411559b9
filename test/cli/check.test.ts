/** @file What `check` tells of a whole run, and how it refuses. */

import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { run } from './recording-terminal.ts';
import { tinyConfig, writePictures, writeTinyCheckpoint, writeTinyRun } from './tiny-run.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 30_000 });

let folder = '';
const at = (name: string) => join(folder, name);
const check = (...more: string[]) => run('check', '--config', at('run.yaml'), ...more);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sdl-train-check-'));
  await writeTinyRun(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(async () => {
  rmSync(at('images'), { recursive: true, force: true });
  await writePictures(at('images'));
  writeFileSync(at('run.yaml'), tinyConfig(folder));
});

test('a sound run: base, images, buckets, captions, length and memory', async () => {
  const { code, out, err } = await check();
  expect([code, err]).toEqual([0, '']);
  expect(out).toMatch(/kind +Stable Diffusion 1\.x checkpoint/);
  expect(out).toMatch(/predicts +noise \(epsilon\), the usual one of Stable Diffusion 1\.x/);
  expect(out).toMatch(/adapter +48 modules in the UNet, 12 in the text encoder; .* parameters/);
  expect(out).toContain('to learn    3, 6 with repeats');
  expect(out).toMatch(/64×64 {7}3 {13}6 {8}3/);
  expect(out).toMatch(/1\.png {2}64×64 {2}64×64 {11}0 %/);
  expect(out).toMatch(/2\.png {7}6 {2}a zibbo, picture 2/);
  expect(out).toContain('an epoch  3 batches, 3 steps of 2 images');
  expect(out).toContain('the run   2 steps, 0.7 epochs');
  expect(out).toMatch(/about {5}\d+ MB at 2 × 64×64/);
  expect(out).toContain('Nothing is in the way of training.');
});

test('the size of the pictures is the base’s where nothing is said', async () => {
  const text = tinyConfig(folder).replace(/ {2}resolution: 64\n {2}buckets:\n( {4}.*\n)+/, '');
  const embedded = join(
    import.meta.dirname,
    '../../models/Stable-diffusion/sdl-tiny-v1.safetensors',
  );
  writeFileSync(at('run.yaml'), text.replace(/^base: .*/, `base: ${embedded}`));
  const own = await check();
  expect([own.code, own.err]).toEqual([0, '']);
  expect(own.out).toMatch(/trained at +128×128, as the base was made/);
  expect(own.out).toMatch(/128×128 {7}3 /);
  writeFileSync(at('run.yaml'), text);
  expect((await check()).out).toMatch(/trained at +512×512, as nothing tells the base's/);
});

test('previews are part of the memory', async () => {
  const settings = ['preview.prompts=[a cat]', 'preview.everySteps=1'];
  const { out } = await check(...settings.flatMap((setting) => ['--set', setting]));
  expect(out).toMatch(/of which +weights .*, previews \d+(\.\d+)? MB, adapter and AdamW/);
});

test('a web UI’s root is enough; a checkpoint without a VAE needs one', async () => {
  const models = at('webui/models');
  for (const name of ['Stable-diffusion', 'VAE', 'Lora']) {
    mkdirSync(join(models, name), { recursive: true });
  }
  writeFileSync(at('webui/webui.py'), '');
  mkdirSync(at('webui/modules'), { recursive: true });
  const isVae = (key: string) => key.startsWith('first_stage_model.');
  const split = (path: string, isKept: (key: string) => boolean) =>
    writeTinyCheckpoint(path, (tensors) => {
      for (const key of tensors.keys()) if (!isKept(key)) tensors.delete(key);
    });
  await split(join(models, 'Stable-diffusion/pruned.safetensors'), (key) => !isVae(key));
  await split(join(models, 'VAE/own.safetensors'), isVae);
  const settings = [`webui=${at('webui')}`, 'base=pruned.safetensors', 'output.dir=null'];
  const look = (...more: string[]) =>
    check(...[...settings, ...more].flatMap((setting) => ['--set', setting]));
  const without = await look();
  expect(without.code).toBe(1);
  expect(without.err).toMatch(/pruned\.safetensors: .*no autoencoder.*vae/);
  const whole = await look('vae=own.safetensors');
  expect([whole.code, whole.err]).toEqual([0, '']);
  expect(whole.out).toMatch(/VAE +.*webui.models.VAE.own\.safetensors/);
  const printed = await run('train', '--config', at('run.yaml'), '--print-config', '--set', settings[0]!, '--set', 'output.dir=null');
  expect(printed.out).toContain(`dir: ${join(models, 'Lora')}`);
}); // biome-ignore format: one line a step

test('an alpha that the adapter’s form hides from web UIs', async () => {
  const { err } = await check('--set', 'output.format=peft', '--set', 'lora.alpha=1');
  expect(err).toMatch(
    /warning: alpha is not the rank, and the form peft .* at 2 times their strength/,
  );
});

test('crops, small images, incomplete batches, duplicates, alike and long captions', async () => {
  await writePictures(at('images'), 4, 40);
  writeFileSync(at('images/4.txt'), 'a zibbo, picture 1');
  writeFileSync(at('images/2.txt'), `${'blue '.repeat(80)}at the very end`);
  await writePictures(join(at('images'), '..', 'more'), 1, 40);
  writeFileSync(
    at('run.yaml'),
    tinyConfig(folder)
      .replace('      repeats: 2\n', `      repeats: 1\n    - path: ${at('more')}\n`)
      .replace('  batchSize: 2\n', '  batchSize: 3\n  maxTokens: 75\n'),
  );
  const { code, out } = await check();
  expect(code).toBe(0);
  expect(out).toMatch(/duplicates {2}1\n {2}the same picture: .*images.1\.png, .*more.1\.png/);
  expect(out).toContain('5 images, smaller than the training size');
  expect(out).toContain('40×40 enlarged 1.6×');
  expect(out).toContain('the last one has 2');
  expect(out).toContain('3 images have the caption "a zibbo, picture 1"');
  expect(out).toMatch(/2\.png: 8\d tokens in \d parts|2\.png: 8\d tokens/);
  expect(out).toMatch(/cut: "(blue )*at the very end"/);
});

test('all problems at once, each on a line, and exit status 1', async () => {
  writeFileSync(at('images/1.txt'), Buffer.from([0x61, 0xe9, 0x62]));
  rmSync(at('images/2.txt'));
  truncateSync(at('images/3.png'), 100);
  const { code, err } = await check('--set', `base=${at('images/1.png')}`);
  expect(code).toBe(1);
  const lines = err.trim().split('\n');
  expect(lines[0]).toBe('4 problems:');
  expect(lines[1]).toContain(`${join('images', '1.png')}: this is not a safetensors file`);
  expect(lines.slice(2).join('\n')).toMatch(/1\.txt: the caption is not UTF-8 text/);
  expect(lines.slice(2).join('\n')).toMatch(/2\.png: no caption/);
  expect(lines.slice(2).join('\n')).toMatch(/3\.png: the picture is damaged or cut short/);
});

test('what the configuration names and is not there is told once, with its line', async () => {
  const { code, err } = await check('--set', 'base=nowhere.safetensors', '--set', 'lora.rank=3');
  expect(code).toBe(1);
  expect(err.trim().split('\n')).toEqual([
    '1 problem:',
    expect.stringMatching(
      /^ {2}--set base=nowhere\.safetensors: base: no such file or folder: .*nowhere/,
    ),
  ]);
});

test('--deep finds weights that are no numbers; clip skip must be within the text encoder', async () => {
  const key = 'model.diffusion_model.out.2.weight';
  await writeTinyCheckpoint(at('nan.safetensors'), (tensors) => {
    (tensors.get(key)!.data as Uint16Array)[7] = 0x7e00;
  });
  const base = `base=${at('nan.safetensors')}`;
  const quick = await check('--set', base);
  expect(quick.code).toBe(0);
  const deep = await check('--set', base, '--deep', '--set', 'train.clipSkip=5');
  expect(deep.code).toBe(1);
  expect(deep.err).toContain(`nan.safetensors: the tensor ${key} holds NaN at index 7`);
  expect(deep.err).toContain('train.clipSkip: 5, but the text encoder has 2 layers');
});
