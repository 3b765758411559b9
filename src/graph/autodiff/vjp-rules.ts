/** @file Reverse-mode derivatives: one vector-Jacobian product for each operation kind. */

import type { GraphBuilder } from '../graph-builder.ts';
import type { Node, NodeOf, OpKind, Ops } from '../ops.ts';

/** One cotangent for each input; `null` where no gradient flows or none is wanted. */
type Cotangents<Inputs extends readonly Node[]> = { readonly [I in keyof Inputs]: Node | null };

/**
 * The cotangents of the inputs, given the cotangent `ct` of the output. `wanted(i)` tells whether
 * input i leads to something that is differentiated: a rule leaves out what is not wanted.
 */
type VjpRule<K extends OpKind> = (
  g: GraphBuilder,
  node: NodeOf<K>,
  ct: Node,
  wanted: (input: number) => boolean,
) => Cotangents<Ops[K]['inputs']>;

const last = (x: Node) => x.shape.length - 1;

/** Sum over all dimensions but `axis`, as a vector. */
function sumToAxis(g: GraphBuilder, x: Node, axis: number): Node {
  const axes = x.shape.map((_, i) => i).filter((i) => i !== axis);
  return g.reshape(axes.length > 0 ? g.sum(x, axes) : x, [x.shape[axis]!]);
}

/** [.., c] as a matrix [rows, c]. */
function asMatrix(g: GraphBuilder, x: Node): Node {
  const columns = x.shape[last(x)]!;
  const rows = x.shape.slice(0, -1).reduce((n, d) => n * d, 1);
  return x.shape.length === 2 ? x : g.reshape(x, [rows, columns]);
}

function secondOrder(node: Node): never {
  throw new Error(`internal: ${node.op} has no derivative: it is one itself`);
}

const attentionRule: VjpRule<'attention'> = (g, node, ct, wanted) => {
  const [q, k, v] = node.inputs;
  const gradient = (wrt: 'q' | 'k' | 'v') =>
    g.emit('attentionGrad', [q, k, v, node as Node, ct], { ...node.attrs, wrt });
  return [
    wanted(0) ? gradient('q') : null,
    wanted(1) ? gradient('k') : null,
    wanted(2) ? gradient('v') : null,
  ];
};

const linearRule: VjpRule<'linear'> = (g, { inputs: [x, weight, bias] }, ct, wanted) => {
  const ct2 = asMatrix(g, ct);
  const dx = wanted(0) ? g.reshape(g.matmul(ct2, weight), x.shape) : null;
  const dw = wanted(1) ? g.matmul(ct2, asMatrix(g, x), { transposeA: true }) : null;
  if (!bias) return [dx, dw];
  return [dx, dw, wanted(2) ? sumToAxis(g, ct, last(ct)) : null];
};

const convRule: VjpRule<'conv2d'> = (g, { inputs, attrs }, ct, wanted) => {
  const [x, weight, bias] = inputs;
  const [height, width] = x.shape.slice(2) as [number, number];
  const kernel = weight.shape.slice(2) as [number, number];
  const dx = wanted(0)
    ? g.emit('conv2dInputGrad', [ct, weight], { ...attrs, height, width })
    : null;
  const dw = wanted(1) ? g.emit('conv2dWeightGrad', [x, ct], { ...attrs, kernel }) : null;
  if (!bias) return [dx, dw];
  return [dx, dw, wanted(2) ? sumToAxis(g, ct, 1) : null];
};

/** The rule of every kind. */
export const vjpRules: { readonly [K in OpKind]: VjpRule<K> } = {
  input: () => [],
  parameter: () => [],
  variable: () => [],
  constant: () => [],

  add: (g, { inputs: [a, b] }, ct, wanted) => [
    wanted(0) ? g.sumTo(ct, a.shape) : null,
    wanted(1) ? g.sumTo(ct, b.shape) : null,
  ],
  sub: (g, { inputs: [a, b] }, ct, wanted) => [
    wanted(0) ? g.sumTo(ct, a.shape) : null,
    wanted(1) ? g.scale(g.sumTo(ct, b.shape), -1) : null,
  ],
  mul: (g, { inputs: [a, b] }, ct, wanted) => [
    wanted(0) ? g.sumTo(g.mul(ct, b), a.shape) : null,
    wanted(1) ? g.sumTo(g.mul(ct, a), b.shape) : null,
  ],
  // y = a/b, so db = -ct·y/b.
  div: (g, node, ct, wanted) => {
    const [a, b] = node.inputs;
    const da = g.div(ct, b);
    return [
      wanted(0) ? g.sumTo(da, a.shape) : null,
      wanted(1) ? g.scale(g.sumTo(g.mul(da, node as Node), b.shape), -1) : null,
    ];
  },
  select: (g, { inputs: [condition, a, b] }, ct, wanted) => {
    const zero = g.constant(0);
    return [
      null,
      wanted(1) ? g.sumTo(g.select(condition, ct, zero), a.shape) : null,
      wanted(2) ? g.sumTo(g.select(condition, zero, ct), b.shape) : null,
    ];
  },
  exp: (g, node, ct) => [g.mul(ct, node as Node)],
  // y = √x, so dx = ct/(2y).
  sqrt: (g, node, ct) => [g.div(g.scale(ct, 0.5), node as Node)],
  // y = σ(x), so dx = ct·y·(1 - y).
  sigmoid: (g, node, ct) => {
    const y = node as Node;
    return [g.mul(ct, g.sub(y, g.square(y)))];
  },
  silu: (g, { inputs: [x] }, ct) => [g.emit('siluGrad', [x, ct], {})],
  gelu: (g, { inputs: [x] }, ct) => [g.emit('geluGrad', [x, ct], {})],
  quickGelu: (g, { inputs: [x] }, ct) => [g.emit('quickGeluGrad', [x, ct], {})],
  siluGrad: (_, node) => secondOrder(node),
  geluGrad: (_, node) => secondOrder(node),
  quickGeluGrad: (_, node) => secondOrder(node),

  // y = a·b, so da = ct·bᵀ and db = aᵀ·ct, each transposed again where its factor was.
  matmul: (g, { inputs: [a, b], attrs: { transposeA, transposeB } }, ct, wanted) => [
    wanted(0)
      ? transposeA
        ? g.matmul(b, ct, { transposeA: transposeB, transposeB: true })
        : g.matmul(ct, b, { transposeB: !transposeB })
      : null,
    wanted(1)
      ? transposeB
        ? g.matmul(ct, a, { transposeA: true, transposeB: transposeA })
        : g.matmul(a, ct, { transposeA: !transposeA })
      : null,
  ],
  linear: linearRule,
  conv2d: convRule,
  conv2dInputGrad: (_, node) => secondOrder(node),
  conv2dWeightGrad: (_, node) => secondOrder(node),
  attention: attentionRule,
  attentionGrad: (_, node) => secondOrder(node),
  groupNorm: (g, { inputs: [x, scale], attrs }, ct, wanted) => [
    wanted(0) ? g.emit('groupNormInputGrad', [x, scale, ct], attrs) : null,
    wanted(1) ? g.emit('groupNormScaleGrad', [x, ct], attrs) : null,
    wanted(2) ? sumToAxis(g, ct, 1) : null,
  ],
  groupNormInputGrad: (_, node) => secondOrder(node),
  groupNormScaleGrad: (_, node) => secondOrder(node),
  layerNorm: (g, { inputs: [x, scale], attrs }, ct, wanted) => [
    wanted(0) ? g.emit('layerNormInputGrad', [x, scale, ct], attrs) : null,
    wanted(1) ? g.emit('layerNormScaleGrad', [x, ct], attrs) : null,
    wanted(2) ? sumToAxis(g, ct, last(ct)) : null,
  ],
  layerNormInputGrad: (_, node) => secondOrder(node),
  layerNormScaleGrad: (_, node) => secondOrder(node),

  reshape: (g, { inputs: [x] }, ct) => [g.reshape(ct, x.shape)],
  transpose: (g, { attrs: { perm } }, ct) => [
    g.transpose(
      ct,
      perm.map((_, i) => perm.indexOf(i)),
    ),
  ],
  concat: (g, { inputs, attrs: { axis } }, ct, wanted) => {
    let end = 0;
    return inputs.map((x, i) => {
      const start = end;
      end += x.shape[axis]!;
      return wanted(i) ? g.sliceAxis(ct, axis, start, end) : null;
    });
  },
  slice: (g, { inputs: [x], attrs: { starts, ends } }, ct) => [
    g.pad(
      ct,
      starts,
      x.shape.map((d, i) => d - ends[i]!),
    ),
  ],
  pad: (g, { inputs: [x], attrs: { before } }, ct) => [
    g.emit('slice', [ct], { starts: before, ends: before.map((b, i) => b + x.shape[i]!) }),
  ],
  expand: (g, { inputs: [x] }, ct) => [g.sumTo(ct, x.shape)],
  sum: (g, { inputs: [x] }, ct) => [g.expand(ct, x.shape)],
  upsampleNearest: (g, { inputs: [x] }, ct) => {
    const [height, width] = x.shape.slice(2) as [number, number];
    return [g.emit('upsampleNearestGrad', [ct], { height, width })];
  },
  upsampleNearestGrad: (_, node) => secondOrder(node),
  gather: (g, { inputs: [table, ids] }, ct, wanted) => [
    wanted(0) ? g.emit('gatherGrad', [ids, ct], { rows: table.shape[0]! }) : null,
    null,
  ],
  gatherGrad: (_, node) => secondOrder(node),
  barrier: (_, __, ct) => [ct, null],
};

/** The cotangents of a node's inputs. */
export function vjp<K extends OpKind>(
  g: GraphBuilder,
  node: NodeOf<K>,
  ct: Node,
  wanted: (input: number) => boolean,
): readonly (Node | null)[] {
  const rule: VjpRule<K> = vjpRules[node.op];
  return rule(g, node, ct, wanted);
}
