/** @file Random weights of a network that has not been trained, made fast: for speed and memory only. */

import type { Shape } from '../src/tensor/shape.ts';
import { sizeOf } from '../src/tensor/shape.ts';

/** FNV-1a, 32 bits; never 0, which a xorshift would stay at. */
function seedOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return hash >>> 0 || 1;
}

/** How the values of a weight are drawn. */
type Draw = { readonly value: number } | { readonly bound: number };

/**
 * PyTorch's default initialisation by the name of a weight: scales of norms 1, biases of norms 0, all
 * else uniform in ±1/√fan_in; embeddings in ±0.03.
 */
export function drawOf(name: string, shape: Shape): Draw {
  const bias = name.endsWith('.bias');
  const isNorm = /norm|\.ln_|in_layers\.0|out_layers\.0|(^|\.)out\.0\.(weight|bias)$/.test(name);
  if (isNorm && shape.length === 1) return { value: bias ? 0 : 1 };
  if (bias) return { bound: 0.01 };
  if (name.includes('embedding.weight')) return { bound: 0.03 };
  return { bound: 1 / Math.sqrt(sizeOf(shape.slice(1))) };
}

/** Values of one weight are drawn from so many, evenly spread between its bounds. */
const levels = 65536;

/** The values that a weight's draws choose from, by a number of 16 bits. */
export function drawTable(draw: Draw): Float32Array {
  if ('value' in draw) return new Float32Array(levels).fill(draw.value);
  return Float32Array.from({ length: levels }, (_, i) => ((2 * i + 1) / levels - 1) * draw.bound);
}

/** Fills `out` with entries of `table`; the same for the same name and seed. */
export function fillRandom<T extends Float32Array | Uint16Array>(
  out: T,
  table: T,
  name: string,
  seed: number,
): T {
  let x = seedOf(`${seed} ${name}`);
  for (let i = 0; i < out.length; i += 2) {
    // Marsaglia 2003, "Xorshift RNGs": ten times as fast as the product's generator, and good enough here.
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    out[i] = table[x & 0xffff]!;
    if (i + 1 < out.length) out[i + 1] = table[x >>> 16]!;
  }
  return out;
}

/** So many values are drawn for each bound: a prime number, so that no two rows of a weight are equal. */
const repeated = 1048573;
const blocks = new Map<number, Float32Array>();

/** The values of all weights with one bound. */
export function blockOf(bound: number): Float32Array {
  let block = blocks.get(bound);
  if (!block) {
    block = fillRandom(new Float32Array(repeated), drawTable({ bound }), `block ${bound}`, 0);
    blocks.set(bound, block);
  }
  return block;
}

/** How a weight is made: of one value, or of a block's values, from one place on and over again. */
export type WeightRecipe =
  | { readonly value: number }
  | { readonly bound: number; readonly from: number };

export function weightRecipe(name: string, shape: Shape, seed: number): WeightRecipe {
  const draw = drawOf(name, shape);
  return 'value' in draw ? draw : { ...draw, from: seedOf(`${seed} ${name}`) % repeated };
}

/**
 * A weight in f32; the same values for the same name and seed. To draw two thousand million values of
 * their own takes too long.
 */
export function randomWeight(name: string, shape: Shape, seed: number): Float32Array {
  const values = new Float32Array(sizeOf(shape));
  const recipe = weightRecipe(name, shape, seed);
  if ('value' in recipe) return values.fill(recipe.value);
  const block = blockOf(recipe.bound);
  let { from } = recipe;
  for (let at = 0; at < values.length; from = 0) {
    const part = block.subarray(from, from + values.length - at);
    values.set(part, at);
    at += part.length;
  }
  return values;
}
