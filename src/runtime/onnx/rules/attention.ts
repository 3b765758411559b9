/** @file Attention and its gradient in ONNX: scores are made again in the backward pass, in chunks of queries. */

import type { AttentionAttrs, Node, NodeOf } from '../../../graph/ops.ts';
import type { OnnxEmitter, ValueName } from '../onnx-emitter.ts';
import { batchedProduct } from './linear-algebra.ts';
import type { LoweringContext, LoweringRules } from './rule.ts';
import { zeroAfter } from './zero-after.ts';

/**
 * Scores of one block of heads and queries, in elements: 8 Mi are 32 MiB. Larger blocks are no faster,
 * and ONNX Runtime keeps such buffers for later layers of the same size.
 */
const scoresAtOnce = 8 * 1024 * 1024;

/** Fewer queries at a time cost more in sums of partial gradients than they save. */
const queriesAtOnce = 1024;

/** Of values that are split into heads. */
const rank = 4;

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
  const scores = batchedProduct(emitter, q, k, rank, { transposeB: true, alpha: scale });
  const shown = mask ? emitter.emit('Add', [scores, mask]) : scores;
  return emitter.emit('Softmax', [shown], { attributes: { axis: -1 } });
}

type Range = readonly [start: number, end: number];

/** [0, size) in ranges of `step`. */
function rangesOf(size: number, step: number): Range[] {
  const ranges: Range[] = [];
  for (let start = 0; start < size; start += step) {
    ranges.push([start, Math.min(size, start + step)]);
  }
  return ranges;
}

/** Ranges of heads and of queries whose scores fit the limit. */
function blocksOf(q: Node, k: Node, { heads, causal }: AttentionAttrs): [Range[], Range[]] {
  const [n, queries] = q.shape as [number, number];
  const perQuery = n * k.shape[1]!;
  if (causal || heads * queries * perQuery <= scoresAtOnce) return [[[0, heads]], [[0, queries]]];
  const most = Math.min(queriesAtOnce, Math.floor(scoresAtOnce / perQuery / 64) * 64);
  const queryStep = Math.min(queries, Math.max(64, most));
  const headStep = Math.max(1, Math.floor(scoresAtOnce / perQuery / queryStep));
  return [rangesOf(heads, headStep), rangesOf(queries, queryStep)];
}

/** A range along one axis of a value with so many elements there. */
function cut(
  emitter: OnnxEmitter,
  value: ValueName,
  axis: number,
  size: number,
  [start, end]: Range,
): ValueName {
  if (end - start === size) return value;
  return emitter.emit('Slice', [
    value,
    emitter.integers([start]),
    emitter.integers([end]),
    emitter.integers([axis]),
  ]);
}

function joined(emitter: OnnxEmitter, parts: readonly ValueName[], axis: number): ValueName {
  return parts.length === 1 ? parts[0]! : emitter.emit('Concat', parts, { attributes: { axis } });
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
  return mergeHeads(emitter, batchedProduct(emitter, p, vh, rank), q);
}

/**
 * With P = softmax(q·kᵀ·s) and D = rowsum(ct·out): dv = Pᵀ·ct, dS = P·(ct·vᵀ - D), dq = s·dS·k,
 * dk = s·dSᵀ·q (Dao et al. 2022, arXiv:2205.14135, appendix B). D is subtracted by the product
 * itself: it is one more column of ct, beside one more column of v that is -1. The three gradients of
 * one attention share all of it, since the emitter emits nothing twice. A block waits until all that is
 * wanted of the one before is there: else the scores of all blocks would be kept from the first gradient
 * to the last.
 */
function backward(context: LoweringContext, node: NodeOf<'attentionGrad'>): ValueName {
  const { emitter, nameOf } = context;
  const [q, k, v, out, ct] = node.inputs;
  const { heads, scale, causal, wrt } = node.attrs;
  const [n, queries] = q.shape as [number, number];
  const keys = k.shape[1]!;
  const split = (x: Node) => splitHeads(emitter, nameOf(x), x, heads);
  const [qh, kh, vh, oh, gh] = [split(q), split(k), split(v), split(out), split(ct)];
  const mask = causal ? causalMask(emitter, queries, keys) : undefined;
  const weighted = emitter.emit('Mul', [gh, oh]);
  const rows = emitter.emit('ReduceSum', [weighted, emitter.integers([-1])], {
    attributes: { keepdims: 1 },
  });
  const columnShape = emitter.integers([n, heads, keys, 1]);
  const column = emitter.emit('Expand', [emitter.float(-1), columnShape]);
  const [gRows, vColumn] = [joined(emitter, [gh, rows], 3), joined(emitter, [vh, column], 3)];

  const [headRanges, queryRanges] = blocksOf(q, k, node.attrs);
  const wanted = context.wantedGradients(node);
  let before: readonly ValueName[] = [];
  const gradientOf = (headRange: Range): ValueName => {
    const ofHeads = (x: ValueName) => cut(emitter, x, 1, heads, headRange);
    const [keysHere, valuesHere] = [ofHeads(kh), ofHeads(vColumn)];
    const parts = queryRanges.map((range) => {
      const here = (x: ValueName) => cut(emitter, ofHeads(x), 2, queries, range);
      const late = (x: ValueName) =>
        before.reduce(
          (value, done) => emitter.emit('Add', [value, zeroAfter(emitter, done)]),
          here(x),
        );
      const queriesHere = late(qh);
      const p = probabilities(emitter, queriesHere, keysHere, mask, scale);
      const ds = () => {
        const dp = batchedProduct(emitter, late(gRows), valuesHere, rank, { transposeB: true });
        return emitter.emit('Mul', [p, dp]);
      };
      const of = {
        q: () => batchedProduct(emitter, ds(), keysHere, rank, { alpha: scale }),
        k: () =>
          batchedProduct(emitter, ds(), queriesHere, rank, { transposeA: true, alpha: scale }),
        v: () => batchedProduct(emitter, p, here(gh), rank, { transposeA: true }),
      };
      const done = wanted.map((one) => of[one]());
      const result = of[wrt]();
      before = done;
      return result;
    });
    return wrt === 'q'
      ? joined(emitter, parts, 2)
      : parts.reduce((sum, part) => emitter.emit('Add', [sum, part]));
  };
  return mergeHeads(emitter, joined(emitter, headRanges.map(gradientOf), 1), { q, k, v }[wrt]);
}

export const attentionRules: LoweringRules<'attention' | 'attentionGrad'> = {
  attention: forward,
  attentionGrad: backward,
};
