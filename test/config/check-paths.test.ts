/** @file Files and folders that a configuration names and that are not there. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { checkPaths } from '../../src/config/check-paths.ts';
import { loadConfig } from '../../src/config/load-config.ts';
import { minimal, refusal } from './fixture.ts';

const folder = mkdtempSync(join(tmpdir(), 'paths-'));
afterAll(() => rmSync(folder, { recursive: true }));
writeFileSync(join(folder, 'model.safetensors'), '');
mkdirSync(join(folder, 'images'));

const check = (...overrides: string[]) =>
  checkPaths(loadConfig({ path: 'run.yaml', text: minimal, overrides, cwd: folder }));

test('is silent where all is there', () => {
  expect(() => check()).not.toThrow();
});

test('names all that is missing, with what is near', () => {
  expect(
    refusal(() =>
      check(
        'base=modle.safetensors',
        'vae=no/v.safetensors',
        'data.folders[0].path=model.safetensors',
      ),
    ),
  ).toEqual([
    `--set base=modle.safetensors: base: no such file or folder: ${join(folder, 'modle.safetensors')}; did you mean model.safetensors?`,
    `--set vae=no/v.safetensors: vae: no such file: ${join(folder, 'no/v.safetensors')}; nor is there ${join(folder, 'no')}`,
    `--set data.folders[0].path=model.safetensors: data.folders[0].path: ${join(folder, 'model.safetensors')} is a file; expected a folder`,
  ]);
});

test('a path of Windows that lost its backslashes in double quotes', () => {
  const [line] = refusal(() => check('base="C:\\temp\\new"'));
  expect(line).toMatch(/no such file or folder: .*; in double quotes a backslash begins/s);
});

test("a web UI's missing checkpoint is named with its whole path", () => {
  const [line] = refusal(() => check(`webui=${folder}`));
  expect(line).toContain(
    `run.yaml:1: base: no such file or folder: ${join(folder, 'models/Stable-diffusion/model.safetensors')}`,
  );
});
