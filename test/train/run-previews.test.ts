/** @file Pictures of a run: sampled once, laid out in rows, forgotten with the run. */

import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { f32 } from '../../src/tensor/tensor.ts';
import { stableDiffusionSchedule } from '../../src/train/noise-schedule.ts';
import { PreviewSampler } from '../../src/train/previews.ts';
import { RunFolder } from '../../src/train/run-folder.ts';
import { type PreviewSettings, RunPreviews } from '../../src/train/run-previews.ts';
import { FrozenTextEncoder } from '../../src/train/text-encoding.ts';
import { withMemory } from '../helpers/little-memory.ts';
import { randomTensor, tinyExecutor, tinyLayouts, tinyModel, tinyText } from './tiny-training.ts';

// Whole networks in plain loops; a second or so on a machine that has nothing else to do.
vi.setConfig({ testTimeout: 120_000 });

const settings: PreviewSettings = {
  enabled: true,
  prompts: [
    { prompt: 'a dog', negativePrompt: '', seed: null },
    { prompt: 'a cat', negativePrompt: 'dog', seed: 9 },
  ],
  everySteps: 2,
  after: true,
  sampler: 'ddim',
  steps: 1,
  guidanceScale: 2,
  width: 16,
  height: 16,
  seeds: [1, 2],
};

let dir = '';
let folder: RunFolder;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sdl-train-previews-'));
  const save = { dir, name: 'pet', saveEverySteps: null, saveEveryEpochs: null, keepLast: null };
  folder = new RunFolder(save, {});
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function networks() {
  const executor = tinyExecutor();
  const layouts = tinyLayouts({ unet: true, textEncoder: false });
  for (const { variable, size } of layouts) executor.writeVariable(variable, f32([size]));
  const schedule = stableDiffusionSchedule();
  return { executor, model: tinyModel, layouts, schedule, text: tinyText() };
}

/** Previews of a run of four steps, and the labels of what they sample. */
function previews(changes: Partial<PreviewSettings> = {}, used = networks()) {
  const sampled: string[] = [];
  const made = new RunPreviews({ ...settings, ...changes }, folder, used, 4, ({ text }) =>
    sampled.push(text!),
  );
  return { made, sampled };
}

const rows = () => new Set(readdirSync(folder.previewFolder).map((file) => file.slice(0, 8)));
const sheet = () => sharp(join(folder.path, 'previews.png')).metadata();

test('a row for each moment; what is there is not sampled again', async () => {
  const { made, sampled } = previews();
  expect([made.due(2), made.due(3)]).toEqual([true, false]);
  await made.make(0);
  expect(sampled).toEqual(['before', 'before', 'before']);
  const low = (await sheet()).height!;
  await made.make(4);
  expect(sampled.slice(3)).toEqual(['after', 'after', 'after']);
  expect((await sheet()).height).toBeGreaterThan(low);
  expect(rows()).toEqual(new Set(['00000000', '00000004']));
  expect(folder.cover).toBeDefined();

  const again = previews();
  folder.cover = undefined;
  await again.made.make(4);
  expect(again.sampled).toEqual([]);
  expect(folder.cover).toBeDefined();
});

test('other prompts leave the rows of the old ones out', async () => {
  await previews().made.make(0);
  const other = previews({ prompts: [{ prompt: 'a fox', negativePrompt: '', seed: 1 }] });
  await other.made.make(2);
  const { width, height } = await sheet();
  rmSync(join(dir, '.sdl-train'), { recursive: true });
  await previews({ prompts: [{ prompt: 'a fox', negativePrompt: '', seed: 1 }] }).made.make(2);
  expect(await sheet()).toMatchObject({ width, height });
});

test('pictures of a later step than the run has are forgotten', async () => {
  const { made } = previews({ prompts: settings.prompts.slice(1) });
  await made.forgetAfter(-1);
  for (const step of [0, 2, 4]) await made.make(step);
  await made.forgetAfter(2);
  expect(rows()).toEqual(new Set(['00000000', '00000002']));
  await made.forgetAfter(-1);
  expect(rows().size).toBe(0);
});

test('nothing is made where previews are off', async () => {
  const { made } = previews({ enabled: false });
  await made.make(0);
  expect(made.due(2)).toBe(false);
  expect(existsSync(folder.path)).toBe(false);
  expect(() => statSync(folder.previewFolder)).toThrow();
});

test('prompts weigh their words as clients do, without a trained text encoder and with one', async () => {
  for (const textEncoder of [false, true]) {
    const { layouts: _layouts, ...tools } = networks();
    const layouts = tinyLayouts({ unet: true, textEncoder });
    for (const { variable, size } of layouts) tools.executor.writeVariable(variable, f32([size]));
    const frozenText = textEncoder
      ? undefined
      : new FrozenTextEncoder(() => tools.executor, tinyModel, tools.text);
    const sampler = new PreviewSampler({ ...tools, ...settings, layouts, frozenText });
    const draw = async (prompt: string) =>
      Buffer.from((await sampler.sample({ prompt, negativePrompt: '', seed: 1 })).rgb);
    const plain = await draw('a dog');
    expect((await draw('a ([dog])')).equals(plain)).toBe(true);
    expect((await draw('a (dog:2)')).equals(plain)).toBe(false);
  }
});

test('a picture depends on prompt, seed, sampler and adapter, and on nothing else', async () => {
  const tools = networks();
  const sampler = (more: object = {}) =>
    new PreviewSampler({ ...tools, ...settings, steps: 2, ...more });
  const request = { prompt: 'a dog', negativePrompt: '', seed: 1 };
  const { rgb, width, height } = await sampler().sample(request);
  expect([rgb.length, width, height]).toEqual([3 * 16 * 16, 16, 16]);
  const same = async (more: object, changed: object = {}) =>
    Buffer.from((await sampler(more).sample({ ...request, ...changed })).rgb).equals(rgb);
  expect(await same({})).toBe(true);
  expect(await same({ layouts: [] })).toBe(true);
  expect(await same({}, { seed: 2 })).toBe(false);
  expect(await same({}, { prompt: 'a cat' })).toBe(false);
  expect(await same({ sampler: 'euler_a' })).toBe(false);
  expect(await same({ guidanceScale: 7 })).toBe(false);
  const [{ variable, size }] = tools.layouts as [(typeof tools.layouts)[0]];
  tools.executor.writeVariable(variable, randomTensor([size], 1));
  expect(await same({})).toBe(false);
  expect(await same({ multiplier: 0 })).toBe(true);
});

test('where the device has no memory for them, they are left out, and it is said once', async () => {
  const used = networks();
  const { made, sampled } = previews(
    { width: 64, height: 64 },
    { ...used, executor: withMemory(used.executor, 1e6) },
  );
  expect(await made.make(0)).toMatch(/no memory for previews of 64×64 .*: .*lower preview\.width/);
  expect(await made.make(2)).toBeNull();
  // Latents, which are all made first, have room; their decoder has none.
  expect([sampled, folder.cover]).toEqual([['before', 'before', 'before'], undefined]);
});
