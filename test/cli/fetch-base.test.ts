/** @file A base on the hub, from the command line. */

import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test, vi } from 'vitest';
import { startHub } from '../hub/hub-server.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';
import { run } from './recording-terminal.ts';
import { tinyConfig, writePictures, writeTinyCheckpoint } from './tiny-run.ts';

vi.setConfig({ testTimeout: 30_000 });

const at = temporaryFolder();

async function setUp() {
  await writeTinyCheckpoint(at('base.safetensors'));
  await writePictures(at('images'));
  const hub = await startHub({ 'tiny.safetensors': readFileSync(at('base.safetensors')) });
  vi.stubEnv('HF_ENDPOINT', hub.endpoint);
  vi.stubEnv('HF_HOME', at('hf'));
  const config = (base: string) =>
    tinyConfig(at())
      .replace(`${at()}/base.safetensors`, base)
      .replace(/^/, 'hub:\n  token: hf_x\n');
  const check = (base: string, ...more: string[]) => {
    writeFileSync(at('run.yaml'), config(base));
    return run('check', '--config', at('run.yaml'), ...more);
  };
  return { hub, check };
}

test('is downloaded, checked, and used again without a question', async () => {
  const { hub, check } = await setUp();
  const { code, out, err } = await check('someone/model', '--set', 'hub.file=tiny.safetensors');
  expect([code, err]).toEqual([
    0,
    expect.stringMatching(/^downloading someone\/model, \d+.* MB\n$/),
  ]);
  expect(out).toMatch(/kind +Stable Diffusion 1\.x checkpoint/);
  expect(out).toMatch(/tiny\.safetensors/);
  hub.asked.length = 0;
  const again = await check('someone/model', '--set', 'hub.file=tiny.safetensors');
  expect([again.code, again.err, hub.asked]).toEqual([0, '', []]);
});

test('nothing is downloaded for a configuration that cannot run, or that is only shown', async () => {
  const { hub, check } = await setUp();
  const missing = await check('someone/model', '--set', `data.folders.0.path=${at('none')}`);
  expect([missing.code, missing.err]).toEqual([2, expect.stringContaining('no such folder')]);
  const shown = await check('someone/model', '--print-config');
  expect([shown.code, shown.out]).toEqual([0, expect.stringContaining('base: someone/model')]);
  expect(shown.out).not.toContain('hf_x');
  const slip = await check(`${at()}/bsae.safetensors`, '--set', 'hub.token=null');
  expect([slip.code, hub.asked]).toEqual([1, []]);
});

test('a refusal is one line', async () => {
  const { check } = await setUp();
  const { code, err } = await check('someone/else');
  expect([code, err]).toEqual([1, expect.stringMatching(/^someone\/else: .*\(404\).*\n$/)]);
});
