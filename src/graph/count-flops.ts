/**
 * @file The arithmetic of a graph: what its products cost, whatever computes them. Divided by the rate of
 * a device's matrix product it is the least time that a run can take there.
 */

import { sizeOf } from '../tensor/shape.ts';
import type { Graph, LeafKind, Node, NodeOf, OpKind } from './ops.ts';

/** Says whether a product is counted for the first time: gradients of one attention share some. */
type Once = (key: string) => boolean;

/** Multiplications and additions of a node. */
type FlopRule<K extends OpKind> = (node: NodeOf<K>, once: Once) => number;

/** Kinds without products: bound by memory, not by arithmetic. */
const none = () => 0;

/** Of a convolution with so many outputs, each a sum over a window of all input channels. */
const windowFlops = (outputs: number, [, channels, height, width]: readonly number[]) =>
  2 * outputs * channels! * height! * width!;

/** Of one product of all heads: q [n, s, c] with k [n, t, c], or the same sizes otherwise arranged. */
function scoreFlops(q: Node, k: Node): number {
  const [n, s, c] = q.shape as [number, number, number];
  return 2 * n * s * k.shape[1]! * c;
}

/** Scores are computed again for the gradients, as all fast kernels do, once for the three of them. */
const attentionGradFlops: FlopRule<'attentionGrad'> = ({ inputs, attrs: { wrt } }, once) => {
  const [q, k] = inputs;
  const one = scoreFlops(q, k);
  const key = inputs.map(({ id }) => id).join();
  const scores = once(`scores ${key}`) ? one : 0;
  const slope = wrt !== 'v' && once(`slope ${key}`) ? one : 0;
  return scores + slope + one;
};

const rules: { readonly [K in Exclude<OpKind, LeafKind>]: FlopRule<K> } = {
  add: none,
  sub: none,
  mul: none,
  div: none,
  select: none,
  exp: none,
  sqrt: none,
  sigmoid: none,
  silu: none,
  gelu: none,
  quickGelu: none,
  siluGrad: none,
  geluGrad: none,
  quickGeluGrad: none,
  matmul: ({ inputs: [a], attrs: { transposeA }, shape }) =>
    2 * sizeOf(shape) * a.shape.at(transposeA ? -2 : -1)!,
  linear: ({ inputs: [x], shape }) => 2 * sizeOf(shape) * x.shape.at(-1)!,
  conv2d: ({ inputs: [, weight], shape }) => windowFlops(sizeOf(shape), [...weight.shape]),
  conv2dInputGrad: ({ inputs: [ct, weight] }) => windowFlops(sizeOf(ct.shape), [...weight.shape]),
  conv2dWeightGrad: ({ inputs: [, ct], shape }) => windowFlops(sizeOf(ct.shape), [...shape]),
  attention: ({ inputs: [q, k] }) => 2 * scoreFlops(q, k),
  attentionGrad: attentionGradFlops,
  groupNorm: none,
  groupNormInputGrad: none,
  groupNormScaleGrad: none,
  layerNorm: none,
  layerNormInputGrad: none,
  layerNormScaleGrad: none,
  reshape: none,
  transpose: none,
  concat: none,
  slice: none,
  pad: none,
  expand: none,
  sum: none,
  upsampleNearest: none,
  upsampleNearestGrad: none,
  gather: none,
  gatherGrad: none,
  barrier: none,
};

function flopsOf<K extends Exclude<OpKind, LeafKind>>(op: K, node: Node, once: Once): number {
  const rule: FlopRule<K> = rules[op];
  return rule(node as unknown as NodeOf<K>, once);
}

/**
 * Floating-point operations of all products of a graph: matrix products, convolutions and attention, a
 * multiplication and an addition counted as two.
 */
export function countFlops({ nodes }: Graph): number {
  const seen = new Set<string>();
  const once: Once = (key) => seen.size < seen.add(key).size;
  let sum = 0;
  for (const node of nodes) {
    const { op } = node;
    if (op === 'input' || op === 'parameter' || op === 'variable' || op === 'constant') continue;
    sum += flopsOf(op, node, once);
  }
  return sum;
}
