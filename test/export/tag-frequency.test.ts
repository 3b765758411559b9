/** @file Tags are counted as kohya counts them, and a large table keeps its most frequent ones. */

import { expect, test } from 'vitest';
import { pyJson } from '../../src/export/python-text.ts';
import { capTagFrequency, countTags } from '../../src/export/tag-frequency.ts';

test('counts captions, not occurrences', () => {
  const tags = countTags(['1girl, Solo , red hair', 'solo, solo,', '']);
  expect([...tags]).toEqual([
    ['1girl', 1],
    ['solo', 2],
    ['red hair', 1],
  ]);
});

test('leaves a small table alone', () => {
  const table = new Map([['10_x', new Map([['a', 1]])]]);
  expect(capTagFrequency(table, 1000)).toBe(table);
});

test('keeps what is most frequent, in order, and every folder', () => {
  const tags = (from: number) =>
    new Map(Array.from({ length: 500 }, (_, i) => [`タグ ${from + i}`, (i % 100) + 1] as const));
  const table = new Map([
    ['10_x', tags(0)],
    ['rare', new Map([['once', 1]])],
    ['5_y', tags(1000)],
  ]);
  const kept = capTagFrequency(table, 10_000);
  const bytes = Buffer.byteLength(JSON.stringify(pyJson(kept)));
  expect(bytes).toBeLessThanOrEqual(10_000);
  expect(bytes).toBeGreaterThan(9_900);
  expect([...kept.keys()]).toEqual(['10_x', 'rare', '5_y']);
  expect(kept.get('rare')?.size).toBe(0);
  const left = [...kept.values()].flatMap((folder) => [...folder.values()]);
  const all = [...table.values()].flatMap((folder) => [...folder.values()]);
  const dropped = all.length - left.length;
  expect(Math.min(...left)).toBe(all.sort((a, b) => a - b)[dropped]);
  expect([...kept.get('10_x')!.keys()]).toEqual(
    [...tags(0).keys()].filter((tag) => kept.get('10_x')?.has(tag)),
  );
});

test('a budget of nothing still gives a table', () => {
  expect([...capTagFrequency(new Map([['x', new Map([['a', 1]])]]), 0).get('x')!]).toEqual([]);
});
