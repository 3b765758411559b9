/** @file Attention and its gradient in TensorFlow.js: products and a softmax. */

import type { AttentionAttrs, Node } from '../../../graph/ops.ts';
import type { Value } from '../tfjs-emitter.ts';
import { product } from './linear-algebra.ts';
import type { LoweringContext, LoweringRules } from './rule.ts';

/** Finite stand-in for minus infinity: a hidden score. */
const hidden = -1e30;

/** [n, s, heads·d] to [n, heads, s, d], or to [n, heads, d, s]. */
function splitHeads(
  { emitter, asIs }: LoweringContext,
  x: Node,
  heads: number,
  { transposed = false } = {},
): Value {
  const [n, s, c] = x.shape as [number, number, number];
  const perm = transposed ? [0, 2, 3, 1] : [0, 2, 1, 3];
  return emitter.emit(
    'splitHeads',
    [asIs(x)],
    (tf, [value]) => tf.transpose(tf.reshape(value!, [n, s, heads, c / heads]), perm),
    { attrs: [heads, perm] },
  );
}

/** a·b of heads, which become [n, s, heads·d] again. */
function mergedProduct(
  { emitter, target }: LoweringContext,
  a: Value,
  b: Value,
  like: Node,
  transposeA = false,
): Value {
  return emitter.emit(
    'mergedProduct',
    [a, b],
    (tf, [x, y]) =>
      tf.reshape(tf.transpose(product(tf, target, x!, y!, { transposeA }), [0, 2, 1, 3]), [
        ...like.shape,
      ]),
    { attrs: transposeA },
  );
}

function causalMask({ emitter }: LoweringContext, queries: number, keys: number): Value {
  const mask = new Array<number>(queries * keys).fill(0);
  for (let i = 0; i < queries; i++) mask.fill(hidden, i * keys + i + 1, (i + 1) * keys);
  return emitter.constant(mask, [queries, keys]);
}

/**
 * softmax(q·kᵀ·scale), [n, heads, s, t]. The backward pass has its own, so that it is not kept from
 * one to the other.
 */
function probabilities(
  context: LoweringContext,
  [q, k]: readonly [Node, Node],
  { heads, causal, scale }: AttentionAttrs,
  pass: 'forward' | 'backward',
): Value {
  const { emitter, target } = context;
  const [queries, keys] = [q.shape[1]!, k.shape[1]!];
  const inputs = [
    splitHeads(context, q, heads),
    splitHeads(context, k, heads, { transposed: true }),
    ...(causal ? [causalMask(context, queries, keys)] : []),
  ];
  return emitter.emit(
    'probabilities',
    inputs,
    (tf, [a, b, mask]) => {
      const scores = product(tf, target, tf.mul(a!, scale), b!);
      return tf.softmax(mask ? tf.add(scores, mask) : scores);
    },
    { attrs: [scale, pass] },
  );
}

/** dS = scale·P·(ct·vᵀ - rowsum(ct·out)) (Dao et al. 2022, arXiv:2205.14135, appendix B). */
function scoreSlopes(
  context: LoweringContext,
  p: Value,
  [v, out, ct]: readonly [Node, Node, Node],
  { heads, scale }: AttentionAttrs,
): Value {
  const { emitter, target } = context;
  const inputs = [
    p,
    splitHeads(context, v, heads, { transposed: true }),
    splitHeads(context, out, heads),
    splitHeads(context, ct, heads),
  ];
  return emitter.emit(
    'scoreSlopes',
    inputs,
    (tf, [weights, values, attended, slopes]) => {
      const means = tf.sum(tf.mul(attended!, slopes!), -1, true);
      const difference = tf.sub(product(tf, target, slopes!, values!), means);
      return tf.mul(tf.mul(weights!, difference), scale);
    },
    { attrs: scale },
  );
}

export const attentionRules: LoweringRules<'attention' | 'attentionGrad'> = {
  attention: (context, { inputs: [q, k, v], attrs }) => {
    const p = probabilities(context, [q, k], attrs, 'forward');
    return mergedProduct(context, p, splitHeads(context, v, attrs.heads), q);
  },
  // dv = Pᵀ·ct, dq = dS·k, dk = dSᵀ·q.
  attentionGrad: (context, { inputs: [q, k, v, out, ct], attrs: { wrt, ...attrs } }) => {
    const { heads } = attrs;
    const p = probabilities(context, [q, k], attrs, 'backward');
    if (wrt === 'v') return mergedProduct(context, p, splitHeads(context, ct, heads), v, true);
    const slopes = scoreSlopes(context, p, [v, out, ct], attrs);
    return wrt === 'q'
      ? mergedProduct(context, slopes, splitHeads(context, k, heads), q)
      : mergedProduct(context, slopes, splitHeads(context, q, heads), k, true);
  },
};
