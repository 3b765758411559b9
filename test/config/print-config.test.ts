/** @file The printed configuration: every value, its origin, and that it can be read again. */

import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '../../src/config/load-config.ts';
import { printConfig } from '../../src/config/print-config.ts';
import { load, minimal } from './fixture.ts';

const configs = resolve(import.meta.dirname, '../../configs');

test('names the origin of each value', () => {
  const lines = printConfig(load(minimal, 'lora.rank=8', 'preview.prompts=[a cat]')).split('\n');
  const lineOf = (key: string) => lines.find((line) => line.trim().startsWith(`${key}:`))?.trim();
  expect(lineOf('name')).toBe('name: zibbo # run.yaml:3');
  expect(lineOf('rank')).toBe('rank: 8 # --set lora.rank=8');
  expect(lineOf('alpha')).toBe('alpha: 8 # default (lora.rank)');
  expect(lineOf('- path')).toMatch(/images # run.yaml:6$/);
  expect(lineOf('resolution')).toBe('resolution: null # default (base)');
  expect(lineOf('minSide')).toBe('minSide: null # default (half of data.resolution)');
  expect(lineOf('- prompt')).toBe('- prompt: a cat # --set preview.prompts=[a cat]');
  expect(lineOf('negativePrompt')).toBe('negativePrompt: "" # default');
});

const runs: readonly (readonly string[])[] = [
  [],
  ['lora.textEncoder=false', 'output.description="two\\nlines: # here"'],
  ['lora.unet=false', 'webui=/ui'],
  ['preview.prompts=["#1, a: b", {prompt: "yes", seed: 1}]', 'data.triggerWord="null"'],
  ['data.resolution=[512, 768]', 'data.captionSeparator=", "', 'output.name="1e5"'],
];

test.each(runs.map((run) => [run]))('with %j it reads as the same values', (run) => {
  const loaded = load(minimal, ...run);
  const printed = printConfig(loaded);
  expect(parse(printed)).toEqual(loaded.config);
  expect(load(printed).config).toEqual(loaded.config);
});

const files = readdirSync(configs).filter((file) => file.endsWith('.yaml'));

test.each(files)('configs/%s is sound and names its schema', (file) => {
  const text = readFileSync(join(configs, file), 'utf8');
  expect(text.split('\n')[0]).toBe('# yaml-language-server: $schema=./schema.json');
  const loaded = loadConfig({ path: join(configs, file), cwd: '/home/me' });
  expect(load(printConfig(loaded)).config).toEqual(loaded.config);
});
