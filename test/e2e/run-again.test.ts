/** @file The same command again: what is found of an earlier run decides what is done. */

import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { lockRun } from '../../src/train/run-lock.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import { writeSafetensors } from '../../src/weights/safetensors-writer.ts';
import { run } from '../cli/recording-terminal.ts';
import { tinyConfig, writePictures, writeTinyRun } from '../cli/tiny-run.ts';
import { torchMissing } from '../helpers/executors.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let folder = '';
const at = (...names: string[]) => join(folder, ...names);
const state = () => at('out', '.sdl-train', 'zibbo', 'state.sdlstate');
const train = (...more: string[]) => run('--config', at('run.yaml'), ...more);
const adapter = () => readFileSync(at('out', 'zibbo.safetensors'));

/** All weights of the adapter. */
async function factors(): Promise<number[]> {
  const file = await openSafetensors(at('out', 'zibbo.safetensors'));
  const names = [...file.entries.keys()].sort();
  const values = names.flatMap((name) => Array.from(file.readSync(name).data, Number));
  file.close();
  return values;
}

/** Events of the log of the last run. */
function logged(): { readonly event: string; readonly step?: number; readonly encoded?: number }[] {
  const text = readFileSync(at('out', '.sdl-train', 'zibbo', 'log.jsonl'), 'utf8').trim();
  const events = text.split('\n').map((line) => JSON.parse(line) as { event: string });
  return events.slice(events.findLastIndex(({ event }) => event === 'config'));
}
const steps = () => logged().flatMap(({ event, step }) => (event === 'step' ? [step] : []));

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sdl-train-again-'));
  await writeTinyRun(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(async () => {
  for (const name of ['out', 'images']) rmSync(at(name), { recursive: true, force: true });
  await writePictures(at('images'));
  writeFileSync(
    at('run.yaml'),
    `${tinyConfig(folder)}preview: { prompts: [zibbo], steps: 1, width: 32, height: 32 }\n`,
  );
  expect((await train()).code).toBe(0);
});

test('a finished run is not trained again; with --restart it is, to the same bytes', async () => {
  const first = adapter();
  rmSync(at('out', 'zibbo.safetensors'));
  const again = await train();
  expect(again.err).toContain('note: all 2 steps of this run are done already');
  expect([again.code, steps()]).toEqual([0, []]);
  expect(again.err).not.toContain('preview');
  expect(adapter().equals(first)).toBe(true);
  expect((await train('--restart')).code).toBe(0);
  expect(steps()).toEqual([1, 2]);
  expect(adapter().equals(first)).toBe(true);
});

test('with more steps it goes on, and says so', async () => {
  const longer = await train('--set', 'train.steps=3');
  expect(longer.err).toContain('planned with 2 steps and has 3 now: it goes on after step 2');
  expect(steps()).toEqual([3]);
  const file = await openSafetensors(at('out', 'zibbo.safetensors'));
  expect(file.metadata.get('ss_steps')).toBe('3');
  file.close();
  const previews = readdirSync(at('out', '.sdl-train', 'zibbo', 'previews'));
  expect(previews.map((name) => Number(name.slice(0, 8)))).toEqual([0, 2, 3]);
});

test('a run goes on however its steps are made to fit the memory', async () => {
  const more = ['--set', 'train.steps=3', '--set', 'train.gradientCheckpointing=true'];
  const planned = await train(...more, '--set', 'device.memory=2GB');
  expect(planned.err).toMatch(/memory: about \d+ MB of 2\.0 GB, with gradient checkpointing/);
  expect([planned.code, steps()]).toEqual([0, [3]]);
});

test('what cannot fit is refused before anything is encoded', async () => {
  const refused = await train('--restart', '--set', 'device.memory=100MB');
  expect([refused.code, steps()]).toEqual([1, []]);
  expect(refused.err).toMatch(/device\.memory: it is 100MB, and the least .* about \d{3} MB/);
  const checked = await run('check', '--config', at('run.yaml'), '--set', 'device.memory=100MB');
  expect([checked.code, checked.err.includes('device.memory: it is 100MB')]).toEqual([1, true]);
});

/** Writes the state anew with another entry in its metadata. */
async function changeState(key: string, value: string): Promise<void> {
  const file = await openSafetensors(state());
  const names = [...file.entries.keys()];
  const tensors = new Map(names.map((name) => [name, file.readSync(name)] as const));
  const metadata = new Map([...file.metadata, [key, value]]);
  file.close();
  await writeSafetensors(state(), tensors, metadata);
}

test('what fitted the memory before is remembered', async () => {
  await changeState('microBatch', '1');
  const more = await train('--set', 'train.steps=3');
  expect(more.err).toContain('note: batches are taken in parts of 1, as this run found no memory');
  expect([more.code, steps()]).toEqual([0, [3]]);
  const kept = await openSafetensors(state());
  expect(kept.metadata.get('microBatch')).toBe('1');
  kept.close();
});

/** Begins a run, and goes on on another executor, which names itself so. */
async function goOn(device: readonly string[], says: RegExp): Promise<void> {
  const exact = ['--set', 'output.precision=f32'];
  await train('--restart', '--set', 'train.steps=4', ...exact);
  const whole = await factors();
  await train('--restart');
  const on = [...exact, ...device.flatMap((value) => ['--set', `device.${value}`])];
  const more = await train('--set', 'train.steps=4', ...on);
  expect([more.code, steps()]).toEqual([0, [3, 4]]);
  expect(more.out).toMatch(says);
  // AdamW's steps are of the size of the learning rate, 1e-4, where a gradient's sign is not rounding.
  expect(await factors()).toBeAllClose(whole, { rtol: 0, atol: 2e-5 });
}

const withTorch = test.skipIf(torchMissing !== undefined);
const skipped = torchMissing === undefined ? '' : ` (skipped: ${torchMissing})`;

withTorch(`a run goes on on libtorch, and comes to the same${skipped}`, async () => {
  await goOn(['executor=torch', 'torchDevice=cpu'], /libtorch \d+\.\d+.*, cpu, f32/);
});

test('a run goes on on TensorFlow.js, and comes to the same', async () => {
  await goOn(
    ['executor=tfjs', 'tfjsBackend=wasm', 'threads=null'],
    /TensorFlow\.js 4\.\d+\.\d+, wasm/,
  );
});

withTorch(`in f16 a stopped run goes on to the same bytes${skipped}`, async () => {
  const on = ['--set', 'device.executor=torch', '--set', 'device.torchDevice=cpu'];
  const half = [...on, '--set', 'device.precision=f16'];
  const whole = await train('--restart', '--set', 'train.steps=3', ...half);
  expect(whole.out).toMatch(/libtorch \d+\.\d+.*, cpu, f16/);
  const first = adapter();
  const losses = logged().filter(({ event }) => event === 'step');
  expect(losses).toMatchObject([{ lossScale: 65536 }, { lossScale: 65536 }, { lossScale: 65536 }]);
  expect((await train('--restart', ...half)).code).toBe(0);
  expect((await train('--set', 'train.steps=3', ...half)).code).toBe(0);
  expect(steps()).toEqual([3]);
  expect(adapter().equals(first)).toBe(true);
});

withTorch(`a loss that is scaled too high by far does not end a run${skipped}`, async () => {
  const half = ['device.executor=torch', 'device.torchDevice=cpu', 'device.precision=f16'];
  const on = half.flatMap((each) => ['--set', each]);
  await changeState('lossScale', JSON.stringify({ scale: 2 ** 32, goodSteps: 0 }));
  const more = await train('--set', 'train.steps=22', ...on);
  expect(more.code).toBe(0);
  const skippedSteps =
    /note: steps 3 to (\d+) were skipped, .* scaled by (\d+) now instead of 4294967296/;
  const [, last, scale] = skippedSteps.exec(more.err)!;
  expect(Number(last)).toBeGreaterThan(8);
  expect(Number(scale)).toBe(2 ** 32 / 2 ** (Number(last) - 2));
});

test('a changed picture is encoded again, and the run starts anew', async () => {
  copyFileSync(at('images', '1.png'), at('images', '2.png'));
  const before = readFileSync(state());
  const changed = await train();
  expect(changed.err).toContain('(different: images); it is kept as');
  expect(steps()).toEqual([1, 2]);
  expect(readFileSync(`${state()}.old`).equals(before)).toBe(true);
  await writePictures(at('images'), 3, 96);
  await train();
  expect(logged().find(({ event }) => event === 'latents')?.encoded).toBe(3);
});

test('a damaged state ends the run with what to do, and nothing is touched', async () => {
  const before = adapter();
  truncateSync(state(), 1000);
  const { code, err } = await train();
  expect(err.trim().split('\n').at(-1)).toMatch(
    /state\.sdlstate: cannot go on from this saved state \(.*cut off.*\); delete it, or add --restart/,
  );
  expect([code, adapter().equals(before)]).toEqual([1, true]);
  expect((await train('--restart')).code).toBe(0);
  expect(existsSync(`${state()}.old`)).toBe(false);
});

test('a second run in the same folder is refused', async () => {
  const unlock = await lockRun(at('out', '.sdl-train', 'zibbo'));
  const { code, err } = await train('--restart');
  await unlock();
  expect(err).toMatch(
    /zibbo: another run is writing there; wait until it ends or stop it, or choose/,
  );
  expect(code).toBe(1);
});
