/** @file Attention and its gradient in ONNX: scores are made again in the backward pass, in chunks of queries. */

import type { AttentionAttrs, Node, NodeOf } from '../../../graph/ops.ts';
import type { OnnxEmitter, ValueName } from '../onnx-emitter.ts';
import { batchedProduct } from './linear-algebra.ts';
import type { LoweringContext, LoweringRules } from './rule.ts';

/** Scores of one chunk, in elements: 32 Mi are 128 MiB. */
const scoresAtOnce = 32 * 1024 * 1024;

/** Finite stand-in for minus infinity: a hidden score. */
const hidden = -1e30;

/** [n, s, heads·d] to [n, heads, s, d]. */
function splitHeads(emitter: OnnxEmitter, value: ValueName, x: Node, heads: number): ValueName {
  const [n, s, c] = x.shape as [number, number, number];
  const split = emitter.emit('Reshape', [value, emitter.integers([n, s, heads, c / heads])]);
  return emitter.emit('Transpose', [split], { attributes: { perm: [0, 2, 1, 3] } });
}

/** [n, heads, s, d] to [n, s, heads·d]. */
function mergeHeads(emitter: OnnxEmitter, value: ValueName, x: Node): ValueName {
  const moved = emitter.emit('Transpose', [value], { attributes: { perm: [0, 2, 1, 3] } });
  return emitter.emit('Reshape', [moved, emitter.integers(x.shape)]);
}

function causalMask(emitter: OnnxEmitter, queries: number, keys: number): ValueName {
  const mask = new Float32Array(queries * keys);
  for (let i = 0; i < queries; i++) mask.fill(hidden, i * keys + i + 1, (i + 1) * keys);
  return emitter.floats(mask, [queries, keys]);
}

/** softmax(q·kᵀ·scale) of a chunk of queries. */
function probabilities(
  emitter: OnnxEmitter,
  q: ValueName,
  k: ValueName,
  mask: ValueName | undefined,
  scale: number,
): ValueName {
  const scores = batchedProduct(emitter, q, k, { transposeB: true, alpha: scale });
  const shown = mask ? emitter.emit('Add', [scores, mask]) : scores;
  return emitter.emit('Softmax', [shown], { attributes: { axis: -1 } });
}

/** Ranges of queries whose scores fit the limit. */
function queryChunks(q: Node, k: Node, { heads, causal }: AttentionAttrs): [number, number][] {
  const [n, queries] = q.shape as [number, number];
  const perQuery = n * heads * k.shape[1]!;
  const size = causal ? queries : Math.max(64, Math.floor(scoresAtOnce / perQuery / 64) * 64);
  const chunks: [number, number][] = [];
  for (let start = 0; start < queries; start += size) {
    chunks.push([start, Math.min(queries, start + size)]);
  }
  return chunks;
}

function chunkOf(
  emitter: OnnxEmitter,
  value: ValueName,
  [start, end]: [number, number],
  whole: boolean,
): ValueName {
  if (whole) return value;
  return emitter.emit('Slice', [
    value,
    emitter.integers([start]),
    emitter.integers([end]),
    emitter.integers([2]),
  ]);
}

function forward({ emitter, nameOf }: LoweringContext, node: NodeOf<'attention'>): ValueName {
  const [q, k, v] = node.inputs;
  const { heads, scale, causal } = node.attrs;
  if (!causal) {
    return emitter.emit('MultiHeadAttention', [nameOf(q), nameOf(k), nameOf(v)], {
      attributes: { num_heads: heads, scale: { float: scale } },
      domain: 'com.microsoft',
    });
  }
  const [qh, kh, vh] = [q, k, v].map((x) => splitHeads(emitter, nameOf(x), x, heads)) as [
    ValueName,
    ValueName,
    ValueName,
  ];
  const mask = causalMask(emitter, q.shape[1]!, k.shape[1]!);
  const p = probabilities(emitter, qh, kh, mask, scale);
  return mergeHeads(emitter, batchedProduct(emitter, p, vh), q);
}

/**
 * With P = softmax(q·kᵀ·s) and D = rowsum(ct·out): dv = Pᵀ·ct, dS = P·(ct·vᵀ - D), dq = s·dS·k,
 * dk = s·dSᵀ·q (Dao et al. 2022, arXiv:2205.14135, appendix B). The three gradients of one
 * attention share all of it, since the emitter emits nothing twice.
 */
function backward({ emitter, nameOf }: LoweringContext, node: NodeOf<'attentionGrad'>): ValueName {
  const [q, k, v, out, ct] = node.inputs;
  const { heads, scale, causal, wrt } = node.attrs;
  const split = (x: Node) => splitHeads(emitter, nameOf(x), x, heads);
  const [qh, kh, vh, oh, gh] = [split(q), split(k), split(v), split(out), split(ct)];
  const mask = causal ? causalMask(emitter, q.shape[1]!, k.shape[1]!) : undefined;
  const weighted = emitter.emit('Mul', [gh, oh]);
  const rows = emitter.emit('ReduceSum', [weighted, emitter.integers([-1])], {
    attributes: { keepdims: 1 },
  });
  const chunks = queryChunks(q, k, node.attrs);
  const whole = chunks.length === 1;
  const parts = chunks.map((range) => {
    const [qc, gc] = [chunkOf(emitter, qh, range, whole), chunkOf(emitter, gh, range, whole)];
    const p = probabilities(emitter, qc, kh, mask, scale);
    if (wrt === 'v') return batchedProduct(emitter, p, gc, { transposeA: true });
    const dp = batchedProduct(emitter, gc, vh, { transposeB: true });
    const centred = emitter.emit('Sub', [dp, chunkOf(emitter, rows, range, whole)]);
    const ds = emitter.emit('Mul', [p, centred]);
    return wrt === 'q'
      ? batchedProduct(emitter, ds, kh, { alpha: scale })
      : batchedProduct(emitter, ds, qc, { transposeA: true, alpha: scale });
  });
  const joined =
    wrt === 'q' && !whole
      ? emitter.emit('Concat', parts, { attributes: { axis: 2 } })
      : parts.reduce((sum, part) => emitter.emit('Add', [sum, part]));
  return mergeHeads(emitter, joined, { q, k, v }[wrt]);
}

export const attentionRules: LoweringRules<'attention' | 'attentionGrad'> = {
  attention: forward,
  attentionGrad: backward,
};
