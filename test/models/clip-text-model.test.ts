/** @file The text encoder: causality, clip skip, and captions of several chunks. */

import { expect, test } from 'vitest';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import {
  clipHeads,
  clipTextModel,
  skipLayers,
  type TextContextOptions,
  textContext,
} from '../../src/models/clip-text-model.ts';
import { networkScope } from '../../src/models/layers.ts';
import { sd1TensorShapes } from '../../src/models/sd1/tensor-shapes.ts';
import { i32 } from '../../src/tensor/tensor.ts';
import { drawWeights, evaluate } from './evaluate.ts';
import { tinySizes } from './sd1/sd15-facts.ts';

const shapes = sd1TensorShapes(tinySizes);
const weights = drawWeights(shapes);
const { hidden, positions } = tinySizes.text;

async function encode(rows: number[], shape: number[], options: TextContextOptions = {}) {
  const g = new GraphBuilder();
  const ids = g.input('ids', shape, 'i32');
  const context = textContext(networkScope(g, shapes, 'text_encoder'), ids, {
    heads: 2,
    ...options,
  });
  const { out } = await evaluate(g, { out: context }, { ids: i32(shape, rows) }, weights);
  expect(out).toHaveLength(context.shape.reduce((n, d) => n * d));
  return { shape: context.shape, token: (i: number) => out!.slice(i * hidden, (i + 1) * hidden) };
}

const first = [48, 1, 2, 3, 4, 5, 49];
const second = [48, 6, 7, 8, 9, 10, 49];

test('a token sees none that comes after it', async () => {
  const a = await encode(first, [1, positions]);
  const b = await encode(first.with(4, 30), [1, positions]);
  expect(b.token(3)).toEqual(a.token(3));
  expect(b.token(4)).not.toBeAllClose(a.token(4), { rtol: 0.1 });
  expect(b.token(6)).not.toBeAllClose(a.token(6), { rtol: 0.01 });
});

test('clip skip takes an earlier state, and the final norm', async () => {
  const g = new GraphBuilder();
  const s = networkScope(g, shapes, 'text_encoder');
  const states = clipTextModel(s, g.input('ids', [1, positions], 'i32'), { heads: 2 });
  expect(states.hidden).toHaveLength(4);
  expect(skipLayers(s, states, 1)).toBe(states.last);
  expect(skipLayers(s, states, 2).inputs[0]).toBe(states.hidden[2]);
  expect(skipLayers(s, states, 3).inputs[0]).toBe(states.hidden[1]);
  expect(() => skipLayers(s, states, 4)).toThrow('internal');
  expect(() => skipLayers(s, states, 0)).toThrow('internal');
});

test('chunks are encoded apart, and joined without the marks between them', async () => {
  const a = await encode(first, [1, positions]);
  const b = await encode(second, [1, positions]);
  const joined = await encode([...first, ...second], [1, 2, positions]);
  expect(joined.shape).toEqual([1, 2 + 2 * (positions - 2), hidden]);
  for (let i = 0; i <= 5; i++) expect(joined.token(i)).toEqual(a.token(i));
  for (let i = 1; i <= 6; i++) expect(joined.token(5 + i)).toEqual(b.token(i));
});

test('or whole, one after the other', async () => {
  const b = await encode(second, [1, positions]);
  const joined = await encode([...first, ...second], [1, 2, positions], { join: 'a1111' });
  expect(joined.shape).toEqual([1, 2 * positions, hidden]);
  expect(joined.token(positions)).toEqual(b.token(0));
});

test('chunks of one caption are beside each other, captions are rows', async () => {
  const a = await encode(first, [1, positions], { clipSkip: 2 });
  const both = await encode([...second, ...first, ...first, ...second], [2, 2, positions], {
    clipSkip: 2,
  });
  expect(both.token(12)).toEqual(a.token(0));
});

test('heads have 64 channels where that divides', () => {
  expect([768, 1024, 128, 48, 100].map(clipHeads)).toEqual([12, 16, 2, 1, 2]);
});
