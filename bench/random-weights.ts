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

/**
 * Makes whole numbers of 32 bits (Marsaglia 2003, "Xorshift RNGs"); ten times as fast as the
 * counter-based generator of the product, and good enough for weights that mean nothing.
 */
export function xorshift(seed: number): () => number {
  let x = seed;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x;
  };
}

/** How the values of a weight are drawn. */
type Draw = { readonly value: number } | { readonly bound: number };

/**
 * PyTorch's default initialisation by the name of a weight: scales of norms 1, biases of norms 0, all
 * else uniform in ±1/√fan_in; embeddings in ±0.03.
 */
export function drawOf(name: string, shape: Shape): Draw {
  const bias = name.endsWith('.bias');
  const isNorm = /norm|in_layers\.0|out_layers\.0|(^|\.)out\.0\.(weight|bias)$/.test(name);
  if (isNorm && shape.length === 1) return { value: bias ? 0 : 1 };
  if (bias) return { bound: 0.01 };
  if (name.includes('embedding.weight')) return { bound: 0.03 };
  return { bound: 1 / Math.sqrt(sizeOf(shape.slice(1))) };
}

/** The same values for the same name and seed. */
export function randomWeight(name: string, shape: Shape, seed: number): Float32Array {
  const values = new Float32Array(sizeOf(shape));
  const draw = drawOf(name, shape);
  if ('value' in draw) return values.fill(draw.value);
  const next = xorshift(seedOf(`${seed} ${name}`));
  const unit = draw.bound / 2 ** 31;
  for (let i = 0; i < values.length; i++) values[i] = next() * unit;
  return values;
}
