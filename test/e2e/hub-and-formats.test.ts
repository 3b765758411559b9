/** @file A run whose base is on the hub and whose adapter has PEFT's names; converted, it is the usual one. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import { run } from '../cli/recording-terminal.ts';
import { tinyConfig, writeTinyRun } from '../cli/tiny-run.ts';
import { startHub } from '../hub/hub-server.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

let folder = '';
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sdl-train-e2e-'));
  await writeTinyRun(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function tensorsOf(path: string): Promise<Map<string, Tensor>> {
  const file = await openSafetensors(path);
  const tensors = new Map(Array.from(file.entries.keys(), (key) => [key, file.readSync(key)]));
  file.close();
  return tensors;
}

test('the same tensors, whatever the base came from and the file is called', async () => {
  const hub = await startHub({
    'tiny.safetensors': readFileSync(join(folder, 'base.safetensors')),
  });
  vi.stubEnv('HF_ENDPOINT', hub.endpoint);
  vi.stubEnv('HF_HOME', join(folder, 'hf'));
  const config = (name: string) => {
    const path = join(folder, `${name}.yaml`);
    writeFileSync(
      path,
      tinyConfig(folder).replace('name: zibbo', `name: ${name}\n  precision: f32`),
    );
    return path;
  };
  const train = (name: string, ...overrides: string[]) =>
    run('train', '--config', config(name), ...overrides.flatMap((value) => ['--set', value]));
  const out = (name: string) => join(folder, 'out', `${name}.safetensors`);

  const usual = await train('usual', 'lora.alpha=1');
  expect([usual.code, usual.err]).toEqual([0, expect.not.stringContaining('downloading')]);
  expect(hub.asked).toEqual([]);
  const fromHub = await train(
    'peft',
    'base=someone/model',
    'hub.file=tiny.safetensors',
    'output.format=peft',
    'lora.alpha=1',
  );
  expect([fromHub.code, fromHub.err]).toEqual([
    0,
    expect.stringContaining('downloading someone/model'),
  ]);
  expect(usual.err).not.toContain('alpha is not the rank');
  expect(fromHub.err).toContain('note: alpha is not the rank, and the form peft has no tensor');
  expect(fromHub.err).toContain('at 2 times their strength: for them set lora.alpha to lora.rank');
  expect(
    [...(await tensorsOf(out('peft'))).keys()].every((key) => /\.lora_[AB]\.weight$/.test(key)),
  ).toBe(true);
  expect(
    (await run('convert', out('peft'), '--format', 'kohya', '--output', out('back'))).code,
  ).toBe(0);
  expect(await tensorsOf(out('back'))).toEqual(await tensorsOf(out('usual')));
});
