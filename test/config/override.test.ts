/** @file `--set`: paths, values, and the place it has in messages. */

import { expect, test } from 'vitest';
import { complaints, contradiction, load, minimal } from './fixture.ts';

test('replaces, adds and takes back', () => {
  const { config } = load(
    minimal,
    'train.steps=5',
    'train.steps=7',
    'data.folders.0.repeats=3',
    'data.folders[1].path=more',
    'output.description="a = b"',
    'data.triggerWord=inkwash style',
    'preview.seeds=[1, 2]',
    'webui=/ui',
    'webui=',
  );
  expect(config.train.steps).toBe(7);
  expect(config.data.folders.map((folder) => folder.repeats)).toEqual([3, null]);
  expect(config.output.description).toBe('a = b');
  expect(config.data.triggerWord).toBe('inkwash style');
  expect(config.preview.seeds).toEqual([1, 2]);
  expect(config.webui).toBeNull();
});

test('a mistake of the file that is overridden is none', () => {
  expect(load(minimal.replace('100', 'many'), 'train.steps=3').config.train.steps).toBe(3);
});

test.each([
  ['train.steps', '--set train.steps: expected a key and a value'],
  ['=3', '--set =3: expected a key and a value'],
  ['a b=3', '--set a b=3: expected a key and a value'],
  ['train.steps=x', '--set train.steps=x: train.steps: found "x", expected a whole number'],
  ['train.stesp=3', '--set train.stesp=3: train.stesp: unknown key; did you mean train.steps?'],
  [
    'network_dim=3',
    "--set network_dim=3: network_dim: unknown key; kohya's network_dim is lora.rank",
  ],
  ['trian.steps=3', '--set trian.steps=3: trian: unknown key; did you mean train?'],
  ['train.steps=[', '--set train.steps=[: not valid YAML'],
  ['data.triggerWord=#tag', '--set data.triggerWord=#tag: # starts a comment'],
  ['data.triggerWord=a #b', '--set data.triggerWord=a #b: # starts a comment'],
  ['base.x=1', '--set base.x=1: base: found a section, expected a text'],
  ['data.folders[5].path=x', 'data.folders is a list of 1 entry: name one as data.folders[0]'],
  ['data.folders.path=x', 'data.folders is a list of 1 entry'],
  ['__proto__.x=1', '--set __proto__.x=1: __proto__: unknown key'],
  ['constructor.prototype.x=1', 'constructor: unknown key'],
])('%s', (override, message) => {
  expect(contradiction(override)).toContain(message);
  expect(Object.hasOwn(Object.prototype, 'x')).toBe(false);
});

test('comes after the mistakes of the file', () => {
  const lines = complaints(minimal.replace('zibbo', '3'), 'lora.rank=0');
  expect(lines.map((line) => line.split(': ')[0])).toEqual(['run.yaml:3', '--set lora.rank=0']);
});
