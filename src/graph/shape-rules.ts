/** @file The shape and dtype of each operation's output, with the checks its inputs must pass. */

import type { ComputeDType } from '../tensor/dtype.ts';
import { broadcastShapes, type Shape, sameShape, sizeOf } from '../tensor/shape.ts';
import type { ConvAttrs, LeafKind, Node, OpKind, Ops } from './ops.ts';

interface Result {
  readonly shape: Shape;
  readonly dtype: ComputeDType;
}

type ShapeRule<K extends OpKind> = (inputs: Ops[K]['inputs'], attrs: Ops[K]['attrs']) => Result;

function check(condition: boolean, message: string): void {
  if (!condition) throw new Error(`internal: ${message}`);
}

const text = (node: Node) => `${node.dtype}[${node.shape}]`;
const same = (node: Node): Result => ({ shape: node.shape, dtype: node.dtype });
const float = (shape: Shape): Result => ({ shape, dtype: 'f32' });

function broadcast([a, b]: readonly [Node, Node]): Result {
  const shape = broadcastShapes(a.shape, b.shape);
  if (!shape || a.dtype !== b.dtype) {
    throw new Error(`internal: ${text(a)} and ${text(b)} do not broadcast`);
  }
  return { shape, dtype: a.dtype };
}

function alike([a, b]: readonly [Node, Node]): Result {
  check(sameShape(a.shape, b.shape), `${text(a)} against ${text(b)}, expected the same shape`);
  return same(a);
}

function unary([x]: readonly [Node]): Result {
  check(x.dtype === 'f32', `a float operation on ${text(x)}`);
  return same(x);
}

/** Output size of a convolution along one side. */
export function convSize(size: number, kernel: number, stride: number, padding: number): number {
  return Math.floor((size + padding - kernel) / stride) + 1;
}

function convShape(x: Node, weight: Node, { stride, pads }: ConvAttrs): Result {
  const [n, channels, h, w] = x.shape as [number, number, number, number];
  const [out, inChannels, kh, kw] = weight.shape as [number, number, number, number];
  check(
    x.shape.length === 4 && weight.shape.length === 4,
    `conv2d of ${text(x)} by ${text(weight)}`,
  );
  check(channels === inChannels, `conv2d of ${text(x)} by a weight ${text(weight)}`);
  const height = convSize(h, kh, stride, pads[0] + pads[2]);
  const width = convSize(w, kw, stride, pads[1] + pads[3]);
  check(height > 0 && width > 0, `conv2d of ${text(x)} by a larger weight ${text(weight)}`);
  return float([n, out, height, width]);
}

/** Checks that the cotangent of a convolution has the shape of its output. */
function convCotangent(ct: Node, x: Shape, weight: Shape, attrs: ConvAttrs): void {
  const leaf = (shape: Shape) => ({ shape, dtype: 'f32' }) as Node;
  const { shape } = convShape(leaf(x), leaf(weight), attrs);
  check(sameShape(shape, ct.shape), `the cotangent ${text(ct)} of a convolution to [${shape}]`);
}

/** Checks that the cotangent `ct` has the shape of the value. */
function cotangentOf(x: Node, ct: Node): void {
  check(sameShape(x.shape, ct.shape), `the cotangent ${text(ct)} of ${text(x)}`);
}

function isVector(node: Node, size: number | undefined): boolean {
  return node.shape.length === 1 && node.shape[0] === size;
}

function normShape(x: Node, channels: number, ...perChannel: Node[]): Result {
  for (const node of perChannel) {
    check(isVector(node, channels), `norm of ${text(x)} by ${text(node)}`);
  }
  return same(x);
}

function resized([x]: readonly [Node], { height, width }: Ops['upsampleNearest']['attrs']): Result {
  check(x.shape.length === 4, `upsampleNearest of ${text(x)}`);
  return float([x.shape[0]!, x.shape[1]!, height, width]);
}

/** Shape rules of all kinds but the leaves, whose shapes are given. */
const shapeRules: { readonly [K in Exclude<OpKind, LeafKind>]: ShapeRule<K> } = {
  add: broadcast,
  sub: broadcast,
  mul: broadcast,
  div: broadcast,
  select: ([condition, a, b]) => {
    check(condition.shape.length === 0, `select by ${text(condition)}, expected a scalar`);
    return broadcast([a, b]);
  },
  exp: unary,
  sqrt: unary,
  sigmoid: unary,
  silu: unary,
  gelu: unary,
  quickGelu: unary,
  siluGrad: alike,
  geluGrad: alike,
  quickGeluGrad: alike,

  matmul: ([a, b], { transposeA, transposeB }) => {
    check(a.shape.length === b.shape.length && a.shape.length >= 2, `matmul ${text(a)} ${text(b)}`);
    const batch = a.shape.slice(0, -2);
    check(sameShape(batch, b.shape.slice(0, -2)), `matmul ${text(a)} ${text(b)}: batches differ`);
    const [a0, a1] = a.shape.slice(-2) as [number, number];
    const [b0, b1] = b.shape.slice(-2) as [number, number];
    const inner = transposeA ? a0 : a1;
    check(inner === (transposeB ? b1 : b0), `matmul ${text(a)} ${text(b)}: inner sizes differ`);
    return float([...batch, transposeA ? a1 : a0, transposeB ? b0 : b1]);
  },
  linear: ([x, weight, bias]) => {
    check(
      weight.shape.length === 2 && x.shape.at(-1) === weight.shape[1],
      `linear of ${text(x)} by a weight ${text(weight)}`,
    );
    if (bias) check(isVector(bias, weight.shape[0]), `linear with a bias ${text(bias)}`);
    return float([...x.shape.slice(0, -1), weight.shape[0]!]);
  },
  conv2d: ([x, weight, bias], attrs) => {
    if (bias) check(isVector(bias, weight.shape[0]), `conv2d with a bias ${text(bias)}`);
    return convShape(x, weight, attrs);
  },
  conv2dInputGrad: ([ct, weight], attrs) => {
    const shape = [ct.shape[0]!, weight.shape[1]!, attrs.height, attrs.width];
    convCotangent(ct, shape, weight.shape, attrs);
    return float(shape);
  },
  conv2dWeightGrad: ([x, ct], attrs) => {
    const shape = [ct.shape[1]!, x.shape[1]!, ...attrs.kernel];
    convCotangent(ct, x.shape, shape, attrs);
    return float(shape);
  },
  attention: ([q, k, v], { heads }) => {
    check(sameShape(k.shape, v.shape), `attention with keys ${text(k)} and values ${text(v)}`);
    check(
      q.shape.length === 3 && k.shape.length === 3 && q.shape[0] === k.shape[0],
      `attention of ${text(q)} to ${text(k)}`,
    );
    check(q.shape[2] === k.shape[2], `attention of ${text(q)} to ${text(k)}`);
    check(q.shape[2]! % heads === 0, `attention of ${text(q)} with ${heads} heads`);
    return same(q);
  },
  attentionGrad: ([q, k, v, output, ct], { wrt }) => {
    cotangentOf(q, output);
    cotangentOf(q, ct);
    return same({ q, k, v }[wrt]);
  },
  groupNorm: ([x, scale, bias], { groups }) => {
    check(x.shape[1]! % groups === 0, `groupNorm of ${text(x)} with ${groups} groups`);
    return normShape(x, x.shape[1]!, scale, bias);
  },
  groupNormInputGrad: ([x, scale, ct]) => {
    cotangentOf(x, ct);
    return normShape(x, x.shape[1]!, scale);
  },
  groupNormScaleGrad: ([x, ct]) => {
    cotangentOf(x, ct);
    return float([x.shape[1]!]);
  },
  layerNorm: ([x, scale, bias]) => normShape(x, x.shape.at(-1)!, scale, bias),
  layerNormInputGrad: ([x, scale, ct]) => {
    cotangentOf(x, ct);
    return normShape(x, x.shape.at(-1)!, scale);
  },
  layerNormScaleGrad: ([x, ct]) => {
    cotangentOf(x, ct);
    return float([x.shape.at(-1)!]);
  },

  reshape: ([x], { shape }) => {
    check(sizeOf(x.shape) === sizeOf(shape), `reshape of ${text(x)} to [${shape}]`);
    return { shape, dtype: x.dtype };
  },
  transpose: ([x], { perm }) => {
    check(
      sameShape(
        [...perm].sort((a, b) => a - b),
        x.shape.map((_, i) => i),
      ),
      `transpose [${perm}]`,
    );
    return { shape: perm.map((i) => x.shape[i]!), dtype: x.dtype };
  },
  concat: (inputs, { axis }) => {
    const [first] = inputs;
    if (!first) throw new Error('internal: concat of nothing');
    check(axis >= 0 && axis < first.shape.length, `concat of ${text(first)} along ${axis}`);
    for (const x of inputs) {
      check(
        x.dtype === first.dtype &&
          x.shape.length === first.shape.length &&
          x.shape.every((d, i) => i === axis || d === first.shape[i]),
        `concat of ${inputs.map(text).join(' ')} along ${axis}`,
      );
    }
    const total = inputs.reduce((n, x) => n + x.shape[axis]!, 0);
    return { shape: first.shape.with(axis, total), dtype: first.dtype };
  },
  slice: ([x], { starts, ends }) => {
    const inside = x.shape.every(
      (d, i) => starts[i]! >= 0 && starts[i]! <= ends[i]! && ends[i]! <= d,
    );
    check(
      inside && starts.length === x.shape.length && ends.length === x.shape.length,
      `slice of ${text(x)}: [${starts}] to [${ends}]`,
    );
    return { shape: starts.map((s, i) => ends[i]! - s), dtype: x.dtype };
  },
  pad: ([x], { before, after }) => {
    check(
      before.length === x.shape.length &&
        after.length === x.shape.length &&
        [...before, ...after].every((size) => size >= 0),
      `pad of ${text(x)} by [${before}] and [${after}]`,
    );
    return { shape: x.shape.map((d, i) => d + before[i]! + after[i]!), dtype: x.dtype };
  },
  expand: ([x], { shape }) => {
    const out = broadcastShapes(x.shape, shape);
    check(out !== null && sameShape(out, shape), `expand of ${text(x)} to [${shape}]`);
    return { shape, dtype: x.dtype };
  },
  sum: ([x], { axes }) => {
    const inside = axes.every((axis) => axis >= 0 && axis < x.shape.length);
    check(inside && x.dtype === 'f32', `sum of ${text(x)} over [${axes}]`);
    return float(x.shape.map((d, i) => (axes.includes(i) ? 1 : d)));
  },
  upsampleNearest: resized,
  upsampleNearestGrad: resized,
  gather: ([table, ids]) => {
    check(
      ids.dtype === 'i32' && table.shape.length === 2,
      `gather from ${text(table)} by ${text(ids)}`,
    );
    return float([...ids.shape, table.shape[1]!]);
  },
  gatherGrad: ([ids, ct], { rows }) => {
    check(
      ids.dtype === 'i32' && sameShape(ids.shape, ct.shape.slice(0, -1)),
      `the cotangent ${text(ct)} of rows ${text(ids)}`,
    );
    return float([rows, ct.shape.at(-1)!]);
  },
  barrier: ([x]) => same(x),
};

/** The shape and dtype of a node of this kind; throws an internal error where inputs don't fit. */
export function inferShape<K extends Exclude<OpKind, LeafKind>>(
  op: K,
  inputs: Ops[K]['inputs'],
  attrs: Ops[K]['attrs'],
): Result {
  const rule: ShapeRule<K> = shapeRules[op];
  return rule(inputs, attrs);
}
