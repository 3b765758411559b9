/** @file The command line itself: what is refused, what is suggested, exit statuses. */

import { describe, expect, test, vi } from 'vitest';
import { run } from './recording-terminal.ts';

// Commands are loaded when they are called, which takes a while the first time.
vi.setConfig({ testTimeout: 30_000 });

describe('a wrong command line ends with 2, one line and where to look', () => {
  test.each([
    [['inspct', 'x'], 'unknown command inspct; did you mean inspect?', '--help'],
    [['--confg', 'x'], 'unknown option --confg; did you mean --config?', '--help'],
    [['--print-confg'], 'unknown option --print-confg; did you mean --print-config?', '--help'],
    [
      ['--config', 'a.yaml', '--network_dim=8'],
      "unknown option --network_dim; kohya's network_dim is lora.rank here: --set lora.rank=…",
      '--help',
    ],
    [
      ['--train.steps', '8'],
      'unknown option --train.steps; a value of the configuration is given: --set train.steps=…',
      '--help',
    ],
    [['run.yaml'], 'run.yaml: give a configuration as --config run.yaml', '--help'],
    [
      ['a.safetensors'],
      'a.safetensors: to look at a file, sdl-train inspect a.safetensors',
      '--help',
    ],
    [['train', '--config'], '--config needs a value', 'train --help'],
    [['inspect'], 'inspect needs a file', 'inspect --help'],
    [['inspect', 'a', 'b'], 'unexpected argument b', 'inspect --help'],
    [
      ['inspect', 'a', '--tensor'],
      'unknown option --tensor; did you mean --tensors?',
      'inspect --help',
    ],
    [
      [],
      '--config is missing: give a configuration, such as --config configs/character.yaml',
      '--help',
    ],
  ] as const)('%j', async (argv, line, help) => {
    const { code, out, err } = await run(...argv);
    expect([code, out]).toEqual([2, '']);
    expect(err).toBe(`${line}\nsee sdl-train ${help}\n`);
  });
});

test('a configuration that is missing or wrong ends with 2', async () => {
  const missing = await run('--config', 'nowhere.yaml');
  expect(missing.code).toBe(2);
  expect(missing.err).toMatch(/^nowhere\.yaml: no such file; .*\n$/);
  const twice = await run('check', '--config', 'a.yaml', '--config', 'b.yaml');
  expect([twice.code, twice.err.split('\n')[0]]).toEqual([
    2,
    '--config is there twice; give one configuration, such as --config configs/character.yaml',
  ]);
});

test('--help lists every command, and --version is the package’s', async () => {
  const help = await run('--help');
  expect(help.code).toBe(0);
  for (const name of ['train', 'check', 'inspect <file>', 'doctor', '--set', '--print-config']) {
    expect(help.out).toContain(name);
  }
  const version = await run('--version');
  expect(version).toMatchObject({ code: 0, err: '' });
  expect(version.out).toMatch(/^\d+\.\d+\.\d+\n$/);
});

test('--print-config shows values with their origin and does nothing else', async () => {
  const path = 'configs/character.yaml';
  const printed = await run('--config', path, '--set', 'train.steps=77', '--print-config');
  expect(printed).toMatchObject({ code: 0, err: '' });
  expect(printed.out).toMatch(/steps: 77 # --set train\.steps=77/);
  expect(printed.out).toMatch(/name: zibbo # configs\/character\.yaml:\d+/);
  const unknown = await run('--config', path, '--set', 'train.stpes=7', '--print-config');
  expect([unknown.code, unknown.out]).toEqual([2, '']);
  expect(unknown.err).toContain('--set train.stpes=7: ');
  expect(unknown.err).toContain('train.steps');
});
