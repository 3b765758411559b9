/** @file Products of matrices in TensorFlow.js. */

import type { Node } from '../../../graph/ops.ts';
import { sizeOf } from '../../../tensor/shape.ts';
import type { Tfjs, TfTensor } from '../open-tfjs.ts';
import type { Value } from '../tfjs-emitter.ts';
import type { LoweringContext, LoweringRules, LoweringTarget } from './rule.ts';

interface Transposed {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
}

/** Below so many multiplications, plain loops take less time than calls. */
const fewMultiplications = 2 ** 14;

/** The last two dimensions exchanged. */
function swapped(tf: Tfjs, x: TfTensor): TfTensor {
  const axes = x.shape.map((_, i) => i);
  return tf.transpose(x, [...axes.slice(0, -2), x.rank - 1, x.rank - 2]);
}

/** a·b of matrices, or of equally many of them; either transposed first where asked. */
export function product(
  tf: Tfjs,
  { singleProducts }: LoweringTarget,
  a: TfTensor,
  b: TfTensor,
  { transposeA = false, transposeB = false }: Transposed = {},
): TfTensor {
  const [m, k] = a.shape.slice(-2) as [number, number];
  const n = b.shape.at(transposeB ? -2 : -1)!;
  if (!singleProducts || m * k * n < fewMultiplications) {
    return tf.matMul(a, b, transposeA, transposeB);
  }
  const left = transposeA ? swapped(tf, a) : a;
  const right = transposeB ? swapped(tf, b) : b;
  const batch = left.shape.slice(0, -2);
  const [rows, inner] = left.shape.slice(-2) as [number, number];
  const count = sizeOf(batch);
  if (count === 1) {
    const single = tf.matMul(tf.reshape(left, [rows, inner]), tf.reshape(right, [inner, n]));
    return tf.reshape(single, [...batch, rows, n]);
  }
  const lefts = tf.reshape(left, [count * rows, inner]);
  const rights = tf.reshape(right, [count * inner, n]);
  const products = Array.from({ length: count }, (_, i) =>
    tf.matMul(
      tf.slice(lefts, [i * rows, 0], [rows, inner]),
      tf.slice(rights, [i * inner, 0], [inner, n]),
    ),
  );
  return tf.reshape(tf.stack(products), [...batch, rows, n]);
}

/** A factor of a product, transposed beforehand where that is kept: for weights, once for all runs. */
function factor(
  { target, arranged, asIs }: LoweringContext,
  node: Node,
  transpose: boolean,
): { readonly value: Value; readonly transpose: boolean } {
  return transpose && target.singleProducts && node.shape.length === 2
    ? { value: arranged(node, 'transposed'), transpose: false }
    : { value: asIs(node), transpose };
}

export const linearAlgebraRules: LoweringRules<'matmul' | 'linear'> = {
  matmul: (context, { inputs: [a, b], attrs }) => {
    const { emitter, target } = context;
    const left = factor(context, a, attrs.transposeA);
    const right = factor(context, b, attrs.transposeB);
    const transposed = { transposeA: left.transpose, transposeB: right.transpose };
    return emitter.emit(
      'matmul',
      [left.value, right.value],
      (tf, [x, y]) => product(tf, target, x!, y!, transposed),
      { attrs: transposed },
    );
  },
  linear: (context, { inputs: [x, weight, bias], shape }) => {
    const { emitter, target, asIs } = context;
    const { value, transpose: transposeB } = factor(context, weight, true);
    const inner = weight.shape[1]!;
    // wasm adds the bias of the wrong columns where it multiplies in plain loops.
    const isFused = target.singleProducts;
    return emitter.emit(
      'linear',
      [asIs(x), value, ...(bias ? [asIs(bias)] : [])],
      (tf, [rows, w, b]) => {
        const a = tf.reshape(rows!, [-1, inner]);
        const y =
          isFused && b
            ? tf.fused.matMul({ a, b: w!, bias: b })
            : tf.matMul(a, w!, false, transposeB);
        return tf.reshape(b && !isFused ? tf.add(y, b) : y, [...shape]);
      },
      { attrs: { shape } },
    );
  },
};
