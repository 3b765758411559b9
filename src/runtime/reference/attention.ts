/** @file Attention and its cotangents, one query of one head at a time. */

import type { AttentionAttrs, Node } from '../../graph/ops.ts';
import type { Elements, Kernels } from './kernel.ts';

/** Sizes of q [n, s, heads·d] and of k, v [n, t, heads·d]. */
interface Sizes {
  readonly n: number;
  readonly s: number;
  readonly t: number;
  readonly channels: number;
  readonly d: number;
}

function sizesOf(q: Node, k: Node, { heads }: AttentionAttrs): Sizes {
  const [n, s, channels] = q.shape as [number, number, number];
  return { n, s, t: k.shape[1]!, channels, d: channels / heads };
}

/** out[j] = Σ a[startA + i]·b[startB + j·step + i] over the d channels of a head, for j < count. */
function dotRows(
  a: Elements,
  startA: number,
  b: Elements,
  startB: number,
  step: number,
  d: number,
  count: number,
  out: Float64Array,
): void {
  for (let j = 0; j < count; j++) {
    const row = startB + j * step;
    let sum = 0;
    for (let i = 0; i < d; i++) sum += a[startA + i]! * b[row + i]!;
    out[j] = sum;
  }
}

/** out[i] = Σ factors[j]·rows[start + j·step + i] over j < count, for the d channels of a head. */
function combineRows(
  factors: Float64Array,
  count: number,
  rows: Elements,
  start: number,
  step: number,
  d: number,
  out: Float64Array,
): void {
  out.fill(0);
  for (let j = 0; j < count; j++) {
    const factor = factors[j]!;
    const row = start + j * step;
    for (let i = 0; i < d; i++) out[i]! += factor * rows[row + i]!;
  }
}

/** The first `count` scores become their softmax; the others 0. */
function softmax(scores: Float64Array, count: number, scale: number): void {
  let max = Number.NEGATIVE_INFINITY;
  for (let j = 0; j < count; j++) max = Math.max(max, scores[j]! * scale);
  let sum = 0;
  for (let j = 0; j < count; j++) {
    const e = Math.exp(scores[j]! * scale - max);
    scores[j] = e;
    sum += e;
  }
  for (let j = 0; j < count; j++) scores[j]! /= sum;
  scores.fill(0, count);
}

/**
 * Calls `visit` for each head and query: offsets of the head's first query and key, of this query,
 * and how many keys it sees.
 */
function forEachQuery(
  { n, s, t, channels, d }: Sizes,
  causal: boolean,
  visit: (keys: number, query: number, visible: number) => void,
): void {
  for (let image = 0; image < n; image++) {
    for (let channel = 0; channel < channels; channel += d) {
      for (let i = 0; i < s; i++) {
        const visible = causal ? Math.min(i + 1, t) : t;
        visit(image * t * channels + channel, (image * s + i) * channels + channel, visible);
      }
    }
  }
}

export const attentionKernels: Kernels<'attention' | 'attentionGrad'> = {
  attention: ({ inputs, attrs }, [q, k, v], out) => {
    const sizes = sizesOf(inputs[0], inputs[1], attrs);
    const { t, channels, d } = sizes;
    const weights = new Float64Array(t);
    const row = new Float64Array(d);
    forEachQuery(sizes, attrs.causal, (keys, query, visible) => {
      dotRows(q, query, k, keys, channels, d, visible, weights);
      softmax(weights, visible, attrs.scale);
      combineRows(weights, visible, v, keys, channels, d, row);
      out.set(row, query);
    });
  },
  // With P = softmax(scale·q·kᵀ): dv = Pᵀ·ct, dP = ct·vᵀ, dS = P∘(dP - rowsum(P∘dP)),
  // dq = scale·dS·k, dk = scale·dSᵀ·q.
  attentionGrad: ({ inputs, attrs, shape }, [q, k, v, , ct], out) => {
    const sizes = sizesOf(inputs[0], inputs[1], attrs);
    const { t, channels, d } = sizes;
    const { scale, wrt } = attrs;
    const weights = new Float64Array(t);
    const slopes = new Float64Array(t);
    const row = new Float64Array(d);
    const sums = new Float64Array(shape.reduce((n, size) => n * size, 1));
    const addOuter = (factors: Float64Array, from: Elements, query: number, keys: number) => {
      for (let j = 0; j < t; j++) {
        const to = keys + j * channels;
        for (let i = 0; i < d; i++) sums[to + i]! += factors[j]! * from[query + i]!;
      }
    };
    forEachQuery(sizes, attrs.causal, (keys, query, visible) => {
      dotRows(q, query, k, keys, channels, d, visible, weights);
      softmax(weights, visible, scale);
      if (wrt === 'v') {
        addOuter(weights, ct, query, keys);
        return;
      }
      dotRows(ct, query, v, keys, channels, d, visible, slopes);
      let mean = 0;
      for (let j = 0; j < visible; j++) mean += weights[j]! * slopes[j]!;
      for (let j = 0; j < t; j++) slopes[j] = scale * weights[j]! * (slopes[j]! - mean);
      if (wrt === 'k') {
        addOuter(slopes, q, query, keys);
        return;
      }
      combineRows(slopes, visible, k, keys, channels, d, row);
      sums.set(row, query);
    });
    out.set(sums);
  },
};
