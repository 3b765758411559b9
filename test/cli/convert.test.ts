/** @file `convert` from its command line. */

import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { temporaryFolder } from '../weights/temporary-folder.ts';
import { run } from './recording-terminal.ts';

vi.setConfig({ testTimeout: 30_000 });

const at = temporaryFolder();
const golden = join(import.meta.dirname, '../fixtures/golden/sd15/lora_init.safetensors');

test('writes beside the file, says what it is, and what other readers need', async () => {
  copyFileSync(golden, at('zibbo.safetensors'));
  const { code, out, err } = await run('convert', at('zibbo.safetensors'), '--format', 'peft');
  expect(code).toBe(0);
  expect(out).toMatch(/zibbo-peft\.safetensors: \d+ layers.*, hash [0-9a-f]{12}\n$/);
  expect(err).toContain('add --fold-alpha');
  const inspected = await run('inspect', at('zibbo-peft.safetensors'));
  expect(inspected.out).toContain('LoRA (peft names)');
  const folded = await run(
    'convert',
    at('zibbo.safetensors'),
    '--format',
    'peft',
    '--fold-alpha',
    '--force',
  );
  expect([folded.code, folded.err]).toEqual([0, '']);
});

test('diffusers names are told by inspect too', async () => {
  await run('convert', golden, '--format', 'diffusers', '--output', at('d.safetensors'));
  const { out } = await run('inspect', at('d.safetensors'));
  expect(out).toContain('LoRA (diffusers names)');
  expect(out).toMatch(/text encoder +attention +\d+/);
  expect(out).toMatch(/UNet +cross-attention +\d+/);
});

test('keeps a file that is there, and replaces it with --force', async () => {
  writeFileSync(at('b.safetensors'), 'mine');
  const args = ['convert', golden, '--format', 'kohya', '--output', at('b.safetensors')];
  const { code, err } = await run(...args);
  expect(code).toBe(1);
  expect(err).toMatch(/there is such a file; add --force/);
  expect(readFileSync(at('b.safetensors'), 'utf8')).toBe('mine');
  expect((await run(...args, '--force')).code).toBe(0);
  expect(
    (
      await run(
        'convert',
        at('b.safetensors'),
        '--format',
        'kohya',
        '--output',
        at('b.safetensors'),
        '--force',
      )
    ).code,
  ).toBe(0);
});

test('what is no LoRA leaves nothing behind', async () => {
  const base = join(golden, '../model.safetensors');
  const { code, err } = await run(
    'convert',
    base,
    '--format',
    'kohya',
    '--output',
    at('c.safetensors'),
  );
  expect(code).toBe(1);
  expect(err).toMatch(/^\S+model\.safetensors: this is no LoRA.*\n$/);
  expect(existsSync(at('c.safetensors'))).toBe(false);
});

test.each([
  [['convert', 'a.safetensors'], '--format is missing'],
  [['convert', 'a.safetensors', '--format', 'pickle'], 'pickle'],
  [['convert', 'a.safetensors', '--format', 'kohya', '--output', 'a.pt'], 'ends with .safetensors'],
  [['convert'], 'file'],
])('%j is a wrong command line', async (argv, message) => {
  const { code, err } = await run(...argv);
  expect(code).toBe(2);
  expect(err).toContain(message);
});
