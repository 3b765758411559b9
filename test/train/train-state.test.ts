/** @file What a run goes on from, and what it says of states that it cannot go on from. */

import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Executor } from '../../src/runtime/executor.ts';
import { f32, type Tensor } from '../../src/tensor/tensor.ts';
import { momentVariables } from '../../src/train/lora-step.ts';
import {
  type Fingerprint,
  loadState,
  type RunState,
  saveState,
  setStateAside,
} from '../../src/train/train-state.ts';
import { writeSafetensors } from '../../src/weights/safetensors-writer.ts';
import { randomTensor, tinyExecutor, tinyLayouts } from './tiny-training.ts';

const layouts = tinyLayouts({ unet: true, textEncoder: true });
const names = layouts.flatMap((layout) => [layout.variable, ...momentVariables(layout)]);
const fingerprint: Fingerprint = { base: 'abc', steps: '10', learningRate: '0.0001' };
const state: RunState = {
  step: 3,
  updates: 2,
  lossScale: null,
  microBatch: null,
  startedAt: 86_400,
  saved: ['a-step00000002.safetensors'],
  history: { losses: [0.5, Number.NaN, 0.25], learningRates: [1, 0.5, 0.25] },
};

let folder = '';
let path = '';
let values: ReadonlyMap<string, Tensor<'f32'>>;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sdl-train-state-'));
  path = join(folder, 'state.sdlstate');
  const executor = tinyExecutor();
  values = new Map(
    layouts.flatMap((layout) =>
      [layout.variable, ...momentVariables(layout)].map(
        (name, i) => [name, randomTensor([layout.size], i)] as const,
      ),
    ),
  );
  for (const [name, value] of values) executor.writeVariable(name, value);
  await saveState(path, executor, layouts, state, fingerprint);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const load = (changes: Fingerprint = {}, from = path, executor: Executor = tinyExecutor()) =>
  loadState(from, executor, layouts, { ...fingerprint, ...changes });

test('comes back whole', async () => {
  const executor = tinyExecutor();
  expect(await load({}, path, executor)).toEqual({ kind: 'same', state, formerSteps: null });
  for (const name of names) expect(executor.readVariable(name)).toEqual(values.get(name));
  expect(await load({}, join(folder, 'nowhere'))).toEqual({ kind: 'none' });
});

test('what a run found out on its way comes back', async () => {
  const other = join(folder, 'found.sdlstate');
  const found = { lossScale: { scale: 2 ** 12, goodSteps: 1999 }, microBatch: 2 };
  const executor = tinyExecutor();
  for (const [name, value] of values) executor.writeVariable(name, value);
  await saveState(other, executor, layouts, { ...state, ...found }, fingerprint);
  expect(await load({}, other)).toMatchObject({ kind: 'same', state: { ...state, ...found } });
});

test('a run with other inputs says which differ', async () => {
  expect(await load({ base: 'x', seed: '1' })).toEqual({
    kind: 'other',
    differing: ['base', 'seed'],
  });
  expect(await load({ base: 'x', steps: '20' })).toMatchObject({ kind: 'other' });
});

test('with more steps a run goes on, with fewer than are done it does not', async () => {
  expect(await load({ steps: '20' })).toMatchObject({ kind: 'same', formerSteps: 10 });
  expect(await load({ steps: '3' })).toMatchObject({ kind: 'same', formerSteps: 10 });
  expect(await load({ steps: '2' })).toEqual({ kind: 'other', differing: ['steps'] });
});

test('damage is one line that says what to do', async () => {
  const advice = /^\S+: cannot go on from this saved state \(.+\); delete it, or add --restart, to/;
  const bytes = readFileSync(path);
  const damaged = join(folder, 'damaged.sdlstate');
  writeFileSync(damaged, bytes);
  truncateSync(damaged, bytes.length - 10);
  await expect(load({}, damaged)).rejects.toThrow(advice);
  writeFileSync(damaged, 'garbage');
  await expect(load({}, damaged)).rejects.toThrow(advice);
  writeFileSync(damaged, '');
  await expect(load({}, damaged)).rejects.toThrow(advice);
});

test.each([
  ['fingerprint', '{', 'its fingerprint is no JSON'],
  ['step', '-1', 'its step is "-1"'],
  ['step', '4', 'its history.loss has 3 values, not 4'],
  ['saved', '7', 'its saved is no list'],
  ['saved', '[{}]', 'its saved is no list of names'],
  ['fingerprint', 'null', 'its fingerprint is no record of texts'],
  ['lossScale', '{"scale": -1, "goodSteps": 0}', 'its lossScale is no loss scale'],
  ['lossScale', '7', 'its lossScale is no loss scale'],
  ['microBatch', '0', 'its microBatch is 0'],
  ['sdl-train.state', '99', 'it is no state of this version of sdl-train'],
])('a state whose %s is %s is refused', async (key, text, reason) => {
  const changed = join(folder, 'changed.sdlstate');
  const metadata = new Map([
    ['sdl-train.state', '2'],
    ['step', '3'],
    ['updates', '2'],
    ['startedAt', '0'],
    ['saved', '[]'],
    ['fingerprint', JSON.stringify(fingerprint)],
  ]);
  metadata.set(key, text);
  const history = { 'history.loss': f32([3]), 'history.learningRate': f32([3]) };
  await writeSafetensors(
    changed,
    new Map<string, Tensor>([...values, ...Object.entries(history)]),
    metadata,
  );
  await expect(load({}, changed)).rejects.toThrow(reason);
});

test('the state of another run is set aside', async () => {
  const other = join(folder, 'other.sdlstate');
  writeFileSync(other, 'state');
  const aside = await setStateAside(other);
  expect([existsSync(other), readFileSync(aside, 'utf8')]).toEqual([false, 'state']);
});
