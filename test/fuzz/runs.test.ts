/** @file Whole runs with one damaged file: `check` ends with a page, or with lines that name the file. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { Rng } from '../../src/tensor/rng.ts';
import { UserError } from '../../src/tensor/user-error.ts';
import { run } from '../cli/recording-terminal.ts';
import { writeTinyRun } from '../cli/tiny-run.ts';
import { damagedBytes, pick } from './damage.ts';
import { guardCases, runCases } from './survives.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });
guardCases();

let folder = '';
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sdl-train-fuzz-'));
  await writeTinyRun(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const files = ['run.yaml', 'images/1.png', 'images/2.png', 'images/3.txt', 'base.safetensors'];

test('check of a run with a damaged file', async () => {
  const sound = new Map(files.map((name) => [name, readFileSync(join(folder, name))]));
  const header = 8 + Number(sound.get('base.safetensors')!.readBigUInt64LE());
  const { read, refused } = await runCases('runs', 30, async (i) => {
    const rng = new Rng(7, 'runs', i);
    const name = pick(rng, files);
    const bytes = sound.get(name)!;
    const isModel = name === 'base.safetensors';
    const head = damagedBytes(rng, isModel ? bytes.subarray(0, header) : bytes);
    writeFileSync(
      join(folder, name),
      isModel ? Buffer.concat([head, bytes.subarray(header)]) : head,
    );
    const { code, out, err } = await run('check', '--config', join(folder, 'run.yaml'));
    writeFileSync(join(folder, name), bytes);
    const text = out + err;
    expect([0, 1, 2]).toContain(code);
    // The command has put what was thrown into words; `internal:` is among them for a bug.
    if (code !== 0 || text.includes('internal:')) throw new UserError(text.slice(-2000));
  });
  expect(read).toBeGreaterThan(2);
  expect(refused).toBeGreaterThan(8);
});
