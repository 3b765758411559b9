/** @file Where libtorch is looked for, which is taken, and what is said where there is none. */

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  findAllLibtorch,
  findLibtorch,
  installCommand,
  isRecent,
  type SearchContext,
} from '../../../src/runtime/torch/find-libtorch.ts';

let root = '';
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sdl-torch-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** A machine on which nothing is but what the test puts below `root`. */
const machine = (env: SearchContext['env'] = {}): SearchContext => ({
  env,
  platform: 'linux',
  home: join(root, 'home'),
  cwd: join(root, 'work'),
});

function write(path: string, content = ''): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

/** A Python environment with torch in it. */
function environment(name: string, version: string): string {
  const prefix = join(root, name);
  const torch = join(prefix, 'lib', 'python3.11', 'site-packages', 'torch');
  write(join(torch, 'lib', 'libtorch_cpu.so'));
  write(join(torch, 'version.py'), `debug = False\n__version__ = '${version}'\n`);
  return prefix;
}

const found = (env: SearchContext['env'], options = {}) => {
  const { version, source } = findLibtorch(options, machine(env));
  return [version, source];
};

test('the first place that has one is taken: what is named, then what is active', () => {
  const [named, wanted, active] = ['a', 'b', 'c'].map((name, i) =>
    environment(name, `2.1${i + 1}.0+cpu`),
  );
  const env = { SDL_TORCH: wanted, VIRTUAL_ENV: active };
  expect(found(env, { path: named })).toEqual(['2.11.0+cpu', 'device.libtorch']);
  expect(found(env)).toEqual(['2.12.0+cpu', 'SDL_TORCH']);
  expect(found({ VIRTUAL_ENV: active })).toEqual(['2.13.0+cpu', 'VIRTUAL_ENV']);
  expect(found({ CONDA_PREFIX: active })).toEqual(['2.13.0+cpu', 'CONDA_PREFIX']);
});

test('one for GPUs is taken before one for the processor, unless that is named', () => {
  const [plain, forGpus] = ['a', 'b'].map((name, i) => environment(name, `2.1${i + 1}.0`));
  write(join(forGpus!, 'lib/python3.11/site-packages/torch/lib/libtorch_cuda.so'));
  const env = { VIRTUAL_ENV: plain, CONDA_PREFIX: forGpus };
  expect(found(env)).toEqual(['2.12.0', 'CONDA_PREFIX']);
  expect(found({ ...env, SDL_TORCH: plain })).toEqual(['2.11.0', 'SDL_TORCH']);
});

test('the command brings a build with kernels for the GPU, in words of the shell', () => {
  expect(installCommand('linux')).toMatch(
    /^python3 .*pip install --force-reinstall "torch>=2\.10"$/,
  );
  expect(installCommand('linux', { capability: 61 })).toMatch(/whl\/cu126$/);
  expect(installCommand('win32', { cuda: '12.9' })).toMatch(/whl\/cu126$/);
  expect(installCommand('win32')).toMatch(/^py [^&]*whl\/cu130$/);
});

test('any folder that a user would name will do', () => {
  const prefix = environment('env', '2.13.0');
  const packages = join(prefix, 'lib', 'python3.11', 'site-packages');
  for (const path of [packages, join(packages, 'torch'), join(packages, 'torch', 'lib')]) {
    expect(findLibtorch({ path }, machine()).folder).toMatch(/torch\/lib$/);
  }
  const unpacked = join(root, 'libtorch');
  write(join(unpacked, 'lib', 'libtorch_cpu.so'));
  write(join(unpacked, 'build-version'), '2.14.1+cu130\n');
  expect(findLibtorch({ path: unpacked }, machine()).version).toBe('2.14.1+cu130');
});

test('python3 on PATH, .venv and a web UI are looked into', () => {
  const prefix = environment('python', '2.10.0');
  write(join(prefix, 'bin', 'python3.11'));
  mkdirSync(join(root, 'bin'));
  symlinkSync(join(prefix, 'bin', 'python3.11'), join(root, 'bin', 'python3'));
  expect(found({ PATH: `/no/such:${join(root, 'bin')}` })).toEqual(['2.10.0', 'python3 on PATH']);
  environment('webui/venv', '2.11.0');
  expect(found({}, { webui: join(root, 'webui') })).toEqual(['2.11.0', 'the web UI']);
  environment('work/.venv', '2.12.0');
  expect(found({}, { webui: join(root, 'webui') })).toEqual(['2.12.0', '.venv of this folder']);
});

test.each(['ui/env', 'python_embeded', 'system/python'])(
  'a portable web UI has it in %s',
  (place) => {
    environment(place, '2.11.0');
    expect(found({}, { webui: join(root, 'ui') })).toEqual(['2.11.0', 'the web UI']);
  },
);

test('one that is too old is passed over, unless it is named', () => {
  const old = environment('old', '2.9.1');
  const active = environment('new', '2.10.0');
  expect(found({ VIRTUAL_ENV: old, CONDA_PREFIX: active })[0]).toBe('2.10.0');
  const all = findAllLibtorch({}, machine({ VIRTUAL_ENV: old, CONDA_PREFIX: active }));
  expect(all.map(({ version }) => version)).toEqual(['2.9.1', '2.10.0']);
  expect(() => found({ CONDA_PREFIX: active }, { path: old })).toThrow(
    /found libtorch 2\.9\.1 in .*; libtorch 2\.10 or newer is needed; install it with: python3 -m venv/,
  );
});

test('where there is none, the message says where it was looked for and how to get it', () => {
  expect(() => found({})).toThrow(/no libtorch was found .*; install it with: python3 -m venv/);
  expect(() => found({ SDL_TORCH: '/no/such' })).toThrow(
    'SDL_TORCH: there is no libtorch_cpu.so in or below /no/such',
  );
});

test.each([
  ['2.9.1', false],
  ['1.13.0', false],
  ['2.10.0', true],
  ['3.0.0a0+git1234', true],
  [null, true],
])('%s is recent: %s', (version, recent) => {
  expect(isRecent(version)).toBe(recent);
});
