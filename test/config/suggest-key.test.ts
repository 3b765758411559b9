/** @file The key that somebody meant. */

import { expect, test } from 'vitest';
import { allKeys } from '../../src/config/config-json-schema.ts';
import { kohyaNames } from '../../src/config/kohya-names.ts';
import { editDistance, nearest, suggestKey } from '../../src/config/suggest-key.ts';

test.each([
  ['', 'abc', 3],
  ['kitten', 'sitting', 3],
  ['stesp', 'steps', 1],
  ['rank', 'rank', 0],
] as const)('from %s to %s', (a, b, distance) => {
  expect(editDistance(a, b)).toBe(distance);
  expect(editDistance(b, a)).toBe(distance);
});

test('nearest: none is better than a far one', () => {
  expect(nearest('batch-size', ['batchSize', 'beta1'])).toBe('batchSize');
  expect(nearest('xyz', ['rank', 'alpha'])).toBeUndefined();
});

test.each([
  [['lora'], 'Rank', 'lora.rank'],
  [['lora'], 'learningRate', 'train.learningRate'],
  [['train'], 'steps_', 'train.steps'],
  [['preview'], 'step', 'preview.steps'],
  [[], 'epochs', 'train.epochs'],
  [[], 'triger_word', 'data.triggerWord'],
  [['data'], 'step', 'data.buckets.step'],
  [['data', 'folders', 0], 'repeat', 'data.folders[].repeats'],
  [['train'], '--unet-lr', 'train.unetLearningRate'],
  [['train'], 'network_alpha', 'lora.alpha'],
] as const)('in %j, %s', (path, key, meant) => {
  expect(suggestKey(path, key).key).toBe(meant);
});

test("kohya's names lead to keys that exist", () => {
  const keys = new Set(allKeys().map((key) => key.path));
  expect(kohyaNames.filter(({ key }) => key !== null && !keys.has(key))).toEqual([]);
  expect(new Set(kohyaNames.map(({ option }) => option)).size).toBe(kohyaNames.length);
});

test('what has no counterpart says so', () => {
  expect(suggestKey(['train'], 'no_half_vae').hint).toContain('leave it out');
  expect(suggestKey(['train'], 'mixed_precision').hint).toContain('device.precision');
  expect(suggestKey([], 'seed').hint).toBe('did you mean train.seed?');
  expect(suggestKey(['lora'], 'qqqqqqq').hint).toContain('the keys here are rank, alpha');
});
