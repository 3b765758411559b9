/** @file Damaged configurations: each loads, or is refused with the line of its mistake. */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test, vi } from 'vitest';
import { parse, stringify } from 'yaml';
import { checkPaths } from '../../src/config/check-paths.ts';
import { loadConfig } from '../../src/config/load-config.ts';
import { printConfig } from '../../src/config/print-config.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { minimal } from '../config/fixture.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';
import { damagedBytes, damagedJson, oddText, pick } from './damage.ts';
import { guardCases, runCases } from './survives.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });
const at = temporaryFolder();
guardCases();

const folder = resolve(import.meta.dirname, '../../configs');
const texts = [
  minimal,
  minimal,
  ...readdirSync(folder)
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => readFileSync(join(folder, name), 'utf8')),
];

test('texts with damaged bytes', async () => {
  const { read, refused, reasons } = await runCases('config bytes', 1500, (i) => {
    const rng = new Rng(7, 'config', i);
    const path = at(`${i}.yaml`);
    writeFileSync(path, damagedBytes(rng, Buffer.from(pick(rng, texts))));
    const loaded = loadConfig({ path });
    printConfig(loaded);
    checkPaths(loaded);
  });
  expect(read + refused).toBe(1500);
  expect(reasons.size).toBeGreaterThan(100);
});

test('values of other kinds, and --set', async () => {
  const { read, refused, reasons } = await runCases('config values', 1500, (i) => {
    const rng = new Rng(7, 'values', i);
    const value = damagedJson(rng, parse(pick(rng, texts)));
    const key = pick(rng, ['train.steps', 'base', 'data.folders', 'lora', 'preview.prompts.0', '', 'x.y', '__proto__.a']);
    const overrides = rng.integer(2) ? [`${key}${pick(rng, ['=', '', '=='])}${oddText(rng, rng.integer(12))}`] : [];
    printConfig(loadConfig({ path: 'run.yaml', text: stringify(value), overrides, cwd: '/home/me' }));
  }); // biome-ignore format: one line a draw
  expect(read).toBeGreaterThan(50);
  expect(refused).toBeGreaterThan(500);
  expect(reasons.size).toBeGreaterThan(100);
});
