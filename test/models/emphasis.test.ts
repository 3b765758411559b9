/** @file Weights of words: how they are read, which tokens they reach, and what they do. */

import { expect, test } from 'vitest';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import { createClipTokenizer } from '../../src/models/clip-tokenizer.ts';
import { readEmphasis, weighTokens } from '../../src/models/emphasis.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { f32 } from '../../src/tensor/tensor.ts';
import { drawWeights, evaluate } from './evaluate.ts';

const read = (caption: string) =>
  readEmphasis(caption).map(({ text, weight }) => [text, Number(weight.toFixed(6))]);

test.each([
  ['a dog', [['a dog', 1]]],
  ['', [['', 1]]],
  ['a (big) dog', [['a ', 1], ['big', 1.1], [' dog', 1]]],
  ['a (big:1.3) dog', [['a ', 1], ['big', 1.3], [' dog', 1]]],
  ['(a: .5 )', [['a', 0.5]]],
  ['((big))', [['big', 1.21]]],
  ['[small]', [['small', 0.909091]]],
  ['([a])', [['a', 1]]],
  ['(a (b:2) c:0.5)', [['a ', 0.5], ['b', 1], [' c', 0.5]]],
  ['(a)(b)', [['ab', 1.1]]],
  ['(unclosed', [['unclosed', 1.1]]],
  ['[unclosed (both', [['unclosed ', 0.909091], ['both', 1]]],
  ['closed) and ]', [['closed) and ]', 1]]],
  ['\\(text\\) \\[x\\] \\\\', [['(text) [x] \\', 1]]],
  ['ratio 16:9, (x:y)', [['ratio 16:9, ', 1], ['x:y', 1.1]]],
  ['a:1.5)', [['a:1.5)', 1]]],
  ['[a:1.5]', [['a:1.5', 0.909091]]],
  ['(a:-1)', [['a', -1]]],
])('%s', (caption, expected) => {
  expect(read(caption)).toEqual(expected);
}); // biome-ignore format: a table

test('a hundred thousand brackets end', () => {
  const started = performance.now();
  readEmphasis('(a['.repeat(30_000));
  readEmphasis('('.repeat(100_000));
  expect(performance.now() - started).toBeLessThan(5000);
});

test('tokens carry the weight of their stretch; marks weigh 1', () => {
  const tokenizer = createClipTokenizer();
  const { ids, weights, tokens } = tokenizer.chunk('a (big:1.5) dog', { emphasis: true });
  const plain = tokenizer.chunk('a big dog');
  expect(ids).toEqual(plain.ids);
  expect(tokens).toBe(3);
  expect(Array.from(weights.subarray(0, 5))).toEqual([1, 1, 1.5, 1, 1]);
  expect(plain.weights.every((weight) => weight === 1)).toBe(true);
  // Off, brackets are text.
  expect(tokenizer.chunk('a (big:1.5) dog').tokens).toBeGreaterThan(3);
});

test('weights reach over the end of a chunk, and end where the caption is cut', () => {
  const tokenizer = createClipTokenizer();
  const caption = `${'cat '.repeat(70)}(${'dog '.repeat(20)}:2) cow`;
  const { weights, chunks } = tokenizer.chunk(caption, { emphasis: true, maxTokens: 150 });
  expect(chunks).toBe(2);
  const heavy = Array.from(weights.keys()).filter((i) => weights[i] === 2);
  expect(heavy).toEqual([...Array(5).keys()].map((i) => 71 + i).concat([...Array(15).keys()].map((i) => 78 + i)));
  const cut = tokenizer.chunk(caption, { emphasis: true, maxTokens: 75 });
  expect(cut.weights.filter((weight) => weight === 2)).toHaveLength(5);
}); // biome-ignore format: one line a claim

test('each chunk keeps its mean; weights of 1 change no bit', async () => {
  const [rows, length, width] = [2, 5, 3];
  const values = new Rng(1, 'encoded').normals(rows * length * width).map((value) => value + 0.3);
  const run = async (weights: readonly number[]) => {
    const g = new GraphBuilder();
    const encoded = g.input('encoded', [rows, length, width]);
    const out = weighTokens(g, encoded, g.input('weights', [1, rows, length]));
    const feeds = { encoded: f32([rows, length, width], values), weights: f32([1, rows, length], weights) };
    return (await evaluate(g, { out }, feeds, drawWeights(new Map())))['out']!;
  };
  const ones = Array(rows * length).fill(1);
  expect(Array.from(await run(ones))).toEqual(Array.from(values));
  const weights = ones.with(1, 1.5).with(2, 0.5);
  const out = await run(weights);
  const size = length * width;
  const mean = (of: ArrayLike<number>) => Array.from({ length: size }, (_, i) => of[i]!).reduce((a, b) => a + b) / size;
  const weighed = Array.from(values, (value, i) => value * weights[Math.floor(i / width)]!);
  const expected = weighed.slice(0, size).map((value) => (value * mean(values)) / mean(weighed));
  expect(Float32Array.from(out.slice(0, size))).toBeAllClose(Float32Array.from(expected), { rtol: 1e-5 });
  expect(mean(out)).toBeCloseTo(mean(values), 5);
  // The second chunk has no weights, and its own mean.
  expect(Array.from(out.slice(size))).toEqual(Array.from(values.slice(size)));
}); // biome-ignore format: one line a claim
