/** @file What runs leave behind, damaged: states, cached latents, cards. */

import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { expect, test, vi } from 'vitest';
import { TensorCache } from '../../src/data/tensor-cache.ts';
import { checkCard, writeCard } from '../../src/export/sidecars.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { f32, type Tensor } from '../../src/tensor/tensor.ts';
import { momentVariables } from '../../src/train/lora-step.ts';
import { loadState, saveState } from '../../src/train/train-state.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import { writeSafetensors } from '../../src/weights/safetensors-writer.ts';
import { randomTensor, tinyExecutor, tinyLayouts } from '../train/tiny-training.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';
import { damagedBytes, damagedJson, oddText, pick } from './damage.ts';
import { guardCases, runCases } from './survives.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });
const at = temporaryFolder();
guardCases();

const layouts = tinyLayouts({ unet: false, textEncoder: true });
const executor = tinyExecutor();
const fingerprint = { base: 'abc', steps: '10' };
const state = {
  step: 3,
  updates: 2,
  lossScale: null,
  microBatch: null,
  startedAt: 86_400,
  saved: ['a-step00000002.safetensors'],
  history: { losses: [0.5, 0.5, 0.25], learningRates: [1, 0.5, 0.25] },
};

async function soundState() {
  const path = at('state.sdlstate');
  for (const layout of layouts) {
    for (const name of [layout.variable, ...momentVariables(layout)]) {
      executor.writeVariable(name, randomTensor([layout.size], 1));
    }
  }
  await saveState(path, executor, layouts, state, fingerprint);
  return path;
}

test('states with damaged bytes', async () => {
  const sound = readFileSync(await soundState());
  const headerEnd = 8 + Number(sound.readBigUInt64LE());
  const { read, refused } = await runCases('state bytes', 1000, async (i) => {
    const rng = new Rng(7, 'state', i);
    const path = at(`${i}.sdlstate`);
    const header = damagedBytes(rng, sound.subarray(8, headerEnd));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    const bytes = Buffer.concat([length, header, sound.subarray(headerEnd)]);
    writeFileSync(path, i % 4 === 0 ? damagedBytes(rng, sound) : bytes);
    const found = await loadState(path, executor, layouts, fingerprint);
    rmSync(path);
    expect(['same', 'other']).toContain(found.kind);
  });
  expect(read).toBeGreaterThan(50);
  expect(refused).toBeGreaterThan(500);
});

test('states with other texts', async () => {
  const file = await openSafetensors(await soundState());
  const tensors = new Map<string, Tensor>();
  for (const name of file.entries.keys()) tensors.set(name, file.readSync(name));
  const { metadata } = file;
  file.close();
  const { read, refused } = await runCases('state texts', 500, async (i) => {
    const rng = new Rng(7, 'texts', i);
    const changed = new Map(metadata);
    const key = pick(rng, ['saved', 'fingerprint', 'fingerprint', 'step', 'updates']);
    const isText = rng.integer(4) === 0;
    const value = () => JSON.stringify(damagedJson(rng, JSON.parse(metadata.get(key)!)));
    changed.set(key, isText ? oddText(rng, rng.integer(20)) : (value() ?? ''));
    const path = at(`${i}.sdlstate`);
    await writeSafetensors(path, tensors, changed);
    const found = await loadState(path, executor, layouts, fingerprint);
    rmSync(path);
    if (found.kind === 'same') expect(found.state.saved.every((name) => typeof name === 'string')).toBe(true);
  }); // biome-ignore format: one line a draw
  expect(read).toBeGreaterThan(50);
  expect(refused).toBeGreaterThan(100);
});

test('cached latents come back as they were, or not at all', async () => {
  const tensor = f32([8, 2, 3], new Rng(1, 'latent').normals(48));
  const cache = new TensorCache(at('cache'), '.latent');
  await cache.put('key', tensor);
  const path = cache.pathOf('key');
  const sound = readFileSync(path);
  let absent = 0;
  await runCases('latents', 1000, async (i) => {
    rmSync(path);
    writeFileSync(path, damagedBytes(new Rng(7, 'latents', i), sound));
    const found = await cache.get('key');
    if (found === null) absent++;
    else expect(found).toEqual(tensor);
  });
  expect(absent).toBeGreaterThan(900);
});

test('cards', async () => {
  const adapter = at('zibbo.safetensors');
  const sound = readFileSync(
    await writeCard(adapter, { activationText: 'zibbo', sdVersion: 'SD1' }),
  );
  const { read, refused } = await runCases('cards', 500, async (i) => {
    const rng = new Rng(7, 'cards', i);
    const value = damagedJson(rng, JSON.parse(String(sound)));
    const bytes = rng.integer(2) ? Buffer.from(JSON.stringify(value) ?? '') : damagedBytes(rng, sound);
    rmSync(at('zibbo.json'), { force: true });
    writeFileSync(at('zibbo.json'), bytes);
    await checkCard(adapter);
    await writeCard(adapter, { notes: 'new' });
    expect(JSON.parse(readFileSync(at('zibbo.json'), 'utf8'))).toMatchObject({ notes: 'new' });
  }); // biome-ignore format: one line a draw
  expect(read).toBeGreaterThan(100);
  expect(refused).toBeGreaterThan(50);
});
