/** @file The generator against Philox's published vectors, and the distributions made of it. */

import { describe, expect, test } from 'vitest';
import { Rng } from '../../src/tensor/rng.ts';

type Words4 = readonly [number, number, number, number];

/** Philox4x32-10 as its paper writes it, with whole 64-bit products. */
function philox(counter: Words4, key: readonly [number, number]): number[] {
  const mask = 0xffffffffn;
  let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key.map(BigInt) as [bigint, bigint];
  for (let round = 0; round < 10; round++) {
    const left = c0 * 0xd2511f53n;
    const right = c2 * 0xcd9e8d57n;
    [c0, c1, c2, c3] = [
      (right >> 32n) ^ c1 ^ k0,
      right & mask,
      (left >> 32n) ^ c3 ^ k1,
      left & mask,
    ];
    k0 = (k0 + 0x9e3779b9n) & mask;
    k1 = (k1 + 0xbb67ae85n) & mask;
  }
  return [c0, c1, c2, c3].map(Number);
}

const purposeHash = (text: string) =>
  [...text].reduce((h, c) => Math.imul(h ^ c.charCodeAt(0), 0x01000193), 0x811c9dc5 | 0) >>> 0;

const draw = (rng: Rng, n: number) => Array.from({ length: n }, () => rng.bits());

describe('Philox4x32-10', () => {
  // The known answers of Random123 1.14, file kat_vectors.
  test.each<[Words4, readonly [number, number], Words4]>([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ])('the test has the algorithm right: %j', (counter, key, expected) => {
    expect(philox(counter, key)).toEqual([...expected]);
  });

  test('counter 0 and key 0', () => {
    // This seed's upper half cancels the purpose out of the key.
    const rng = new Rng(purposeHash('noise') * 2 ** 32, 'noise');
    expect(draw(rng, 4)).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  });

  test.each([
    [0, 'noise', 0, 0],
    [42, 'timestep', 7, 3],
    [0xffffffff, 'dropout', 0xffffffff, 0xffffffff],
    [2 ** 40 + 5, 'shuffle', 1, 0],
    [0xdeadbeef, 'x', 0x80000000, 2],
  ])('seed %i, %s, step %i, sample %i', (seed, purpose, step, sample) => {
    const key = [seed >>> 0, (purposeHash(purpose) ^ Math.floor(seed / 2 ** 32)) >>> 0] as const;
    const blocks = [0, 1, 2].flatMap((block) => philox([block, 0, step, sample], key));
    expect(draw(new Rng(seed, purpose, step, sample), 12)).toEqual(blocks);
  });
});

test('a stream depends on every part of its key and on nothing else', () => {
  const parts: readonly (readonly [number, string, number, number])[] = [
    [1, 'noise', 0, 0],
    [2, 'noise', 0, 0],
    [1, 'shuffle', 0, 0],
    [1, 'noise', 1, 0],
    [1, 'noise', 0, 1],
    [1 + 2 ** 32, 'noise', 0, 0],
  ];
  const first = parts.map((part) => new Rng(...part).bits());
  expect(new Set(first).size).toBe(parts.length);
  new Rng(1, 'noise').normals(100);
  expect(new Rng(1, 'noise').bits()).toBe(first[0]);
});

test('uniform values fill [0, 1) evenly', () => {
  const rng = new Rng(1, 'uniform');
  const counts = new Array<number>(10).fill(0);
  for (let i = 0; i < 20_000; i++) {
    const value = rng.uniform();
    expect(value >= 0 && value < 1).toBe(true);
    counts[Math.floor(value * 10)]! += 1;
  }
  // 2000 each, standard deviation 42.
  for (const count of counts) expect(Math.abs(count - 2000)).toBeLessThan(210);
});

test('integers stay below n and reach all of it', () => {
  const rng = new Rng(1, 'integer');
  const seen = new Set(Array.from({ length: 200 }, () => rng.integer(7)));
  expect([...seen].sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
});

test('normal values have the moments of the normal distribution', () => {
  const n = 40_000;
  const values = new Rng(3, 'normal').normals(n);
  const moment = (power: number) => values.reduce((sum, v) => sum + v ** power, 0) / n;
  // Five standard deviations of each mean: √(1/n), √(2/n), √(15/n), √(96/n).
  expect(Math.abs(moment(1))).toBeLessThan(5 * Math.sqrt(1 / n));
  expect(Math.abs(moment(2) - 1)).toBeLessThan(5 * Math.sqrt(2 / n));
  expect(Math.abs(moment(3))).toBeLessThan(5 * Math.sqrt(15 / n));
  expect(Math.abs(moment(4) - 3)).toBeLessThan(5 * Math.sqrt(96 / n));
});

test('normals are the same one by one and at once', () => {
  const rng = new Rng(3, 'normal');
  const single = Array.from({ length: 7 }, () => Math.fround(rng.normal()));
  expect([...new Rng(3, 'normal').normals(7)]).toEqual(single);
});

test('shuffling permutes a copy', () => {
  const items = [1, 2, 3, 4, 5, 6, 7, 8];
  const shuffled = new Rng(1, 'shuffle').shuffled(items);
  expect(shuffled).not.toEqual(items);
  expect([...shuffled].sort()).toEqual(items);
  expect(items).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  // Each item comes first about equally often: 1000 of 8000, standard deviation 30.
  const counts = new Map<number, number>();
  for (let seed = 0; seed < 8000; seed++) {
    const [first] = new Rng(seed, 'shuffle').shuffled(items);
    counts.set(first!, (counts.get(first!) ?? 0) + 1);
  }
  for (const item of items) expect(Math.abs(counts.get(item)! - 1000)).toBeLessThan(150);
});
