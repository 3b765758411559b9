/** @file The program as a process: exit statuses, pipes that close, Ctrl-C. */

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { writeTinyRun } from '../cli/tiny-run.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const program = resolve(import.meta.dirname, '../../src/cli/main.ts');

interface Process {
  readonly child: ChildProcess;
  /** What it has written to stderr so far. */
  readonly err: () => string;
  readonly ended: Promise<{
    readonly code: number | null;
    readonly out: string;
    readonly err: string;
  }>;
}

function start(...argv: string[]): Process {
  // Not by way of tsx's own program, which would handle signals itself.
  const child = spawn(process.execPath, ['--import', 'tsx', program, ...argv]);
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk;
  });
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk;
  });
  const ended = new Promise<{ code: number | null; out: string; err: string }>((done) => {
    child.on('close', (code) => done({ code, out, err }));
  });
  return { child, err: () => err, ended };
}

const until = (condition: () => boolean) =>
  vi.waitUntil(condition, { timeout: 90_000, interval: 20 });

let folder = '';
let config = '';
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sdl-train-process-'));
  config = await writeTinyRun(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('a mistake ends with its status, on stderr alone', async () => {
  const { code, out, err } = await start('--confg', config).ended;
  expect([code, out]).toEqual([2, '']);
  expect(err).toContain('did you mean --config?');
});

test('a reader that closes its pipe is no error', async () => {
  const { child, ended } = start('inspect', join(folder, 'base.safetensors'), '--tensors');
  child.stdout!.destroy();
  const { code, err } = await ended;
  expect([code, err]).toEqual([0, '']);
});

test('Ctrl-C finishes the step and saves; the same command goes on from there', async () => {
  const length = ['--set', 'train.steps=100000'];
  const run = start('--config', config, ...length);
  await until(() => /training/.test(run.err()));
  run.child.kill('SIGINT');
  const { code, out, err } = await run.ended;
  expect(err).toContain('finishing this step, then saving');
  const step = Number(/stopped after step (\d+) of 100000/.exec(out)?.[1]);
  expect([code, step > 0]).toEqual([130, true]);
  expect(out).toContain('run the same command again to go on');
  const files = readdirSync(join(folder, 'out'), { recursive: true, encoding: 'utf8' });
  expect(files.filter((name) => /\.tmp$|\.safetensors$/.test(name))).toEqual([]);

  const again = start('--config', config, ...length);
  await until(() => again.err().includes(`going on after step ${step}`));
  await until(() => /training/.test(again.err()));
  again.child.kill('SIGTERM');
  const second = await again.ended;
  expect(second.code).toBe(143);
  expect(Number(/stopped after step (\d+)/.exec(second.out)?.[1])).toBeGreaterThan(step);
});

test('a Ctrl-C before the first step ends at once', async () => {
  const run = start('--config', config, '--set', `output.dir=${join(folder, 'early')}`);
  await until(() => existsSync(join(folder, 'early', '.sdl-train', 'zibbo', 'log.jsonl')));
  run.child.kill('SIGINT');
  const { code, out } = await run.ended;
  // Where the machine was quick, the first step had begun, and the run of two steps may be over.
  expect([0, 130]).toContain(code);
  expect(code === 0).toBe(out.includes('LoRA: '));
});

test.skipIf(process.platform === 'win32')(
  'a disk that takes no more: one line, and no half file',
  async () => {
    const out = join(folder, 'full');
    // A limit of the shell stands in for the disk; the adapter is larger, a latent is not.
    const limited = `trap '' XFSZ; ulimit -f 16; exec "$@"`;
    const command = [process.execPath, '--import', 'tsx', program, '--config', config];
    const child = spawn('sh', ['-c', limited, 'sh', ...command, '--set', `output.dir=${out}`], {
      env: { ...process.env, TSX_DISABLE_CACHE: '1' },
    });
    let err = '';
    child.stderr.on('data', (chunk: Buffer) => {
      err += chunk;
    });
    const code = await new Promise((done) => child.on('close', done));
    const last = err.trim().split('\n').at(-1);
    expect(last).toMatch(/^cannot write .*full.*: the file would be larger than .* allow/);
    expect(code).toBe(1);
    const files = readdirSync(out, { recursive: true, encoding: 'utf8' });
    expect(files.filter((name) => /\.tmp$|\.safetensors$|\.sdlstate/.test(name))).toEqual([]);
  },
);
