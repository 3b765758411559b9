/** @file Operations that move, repeat, sum or look up elements, in TensorFlow.js. */

import type { NodeOf } from '../../../graph/ops.ts';
import type { Tfjs, TfTensor } from '../open-tfjs.ts';
import type { Value } from '../tfjs-emitter.ts';
import { product } from './linear-algebra.ts';
import type { LoweringContext, LoweringRules } from './rule.ts';

/** Rows longer than this are summed in parts: wasm adds one number to the next, which rounds. */
const longRow = 128;

/** The largest divisor of `size` that is no long row. */
function partOf(size: number): number {
  let divisor = Math.min(size, longRow);
  while (size % divisor !== 0) divisor--;
  return divisor;
}

/** [rows, size] summed to [rows, 1]. */
export function sumLast(tf: Tfjs, x: TfTensor): TfTensor {
  const [rows, size] = x.shape as [number, number];
  const part = partOf(size);
  if (part === size || part === 1) return tf.sum(x, 1, true);
  return sumLast(tf, tf.sum(tf.reshape(x, [rows, size / part, part]), 2));
}

/** Sum over `axes`, which come last for that: [.., summed] as rows. */
function sum(
  { emitter, asIs }: LoweringContext,
  { inputs: [x], attrs: { axes }, shape }: NodeOf<'sum'>,
): Value {
  const kept = x.shape.flatMap((_, i) => (axes.includes(i) ? [] : [i]));
  const size = axes.reduce((product, axis) => product * x.shape[axis]!, 1);
  return emitter.emit(
    'sum',
    [asIs(x)],
    (tf, [value]) => {
      const moved = tf.transpose(value!, [...kept, ...axes]);
      return tf.reshape(sumLast(tf, tf.reshape(moved, [-1, size])), [...shape]);
    },
    { attrs: axes },
  );
}

/** Source index of each target index: floor(i·from/to). */
const nearestIndices = (from: number, to: number): number[] =>
  Array.from({ length: to }, (_, i) => Math.floor((i * from) / to));

function upsample({ emitter, asIs }: LoweringContext, node: NodeOf<'upsampleNearest'>): Value {
  const [x] = node.inputs;
  const [h, w] = x.shape.slice(2) as [number, number];
  const { height, width } = node.attrs;
  const [rows, columns] = [nearestIndices(h, height), nearestIndices(w, width)];
  return emitter.emit(
    'upsampleNearest',
    [asIs(x)],
    (tf, [value]) => {
      const tall = tf.gather(value!, tf.tensor1d(rows, 'int32'), 2);
      return tf.gather(tall, tf.tensor1d(columns, 'int32'), 3);
    },
    { attrs: node.attrs },
  );
}

/** The 0/1 matrix [large, small] that has a one where the target takes from the source. */
function nearestMatrix({ emitter }: LoweringContext, small: number, large: number): Value {
  const matrix = new Array<number>(large * small).fill(0);
  for (const [to, from] of nearestIndices(small, large).entries()) matrix[to * small + from] = 1;
  return emitter.constant(matrix, [large, small]);
}

/** Columns are added by a product with such a matrix, then rows, moved to their place. */
function upsampleGrad(context: LoweringContext, node: NodeOf<'upsampleNearestGrad'>): Value {
  const { emitter, asIs, target } = context;
  const [ct] = node.inputs;
  const [n, c, h, w] = ct.shape as [number, number, number, number];
  const { height, width } = node.attrs;
  return emitter.emit(
    'upsampleNearestGrad',
    [asIs(ct), nearestMatrix(context, height, h), nearestMatrix(context, width, w)],
    (tf, [value, rows, columns]) => {
      const narrow = product(tf, target, tf.reshape(value!, [n * c * h, w]), columns!);
      const turned = tf.transpose(tf.reshape(narrow, [n * c, h, width]), [0, 2, 1]);
      const small = product(tf, target, tf.reshape(turned, [n * c * width, h]), rows!);
      const back = tf.transpose(tf.reshape(small, [n * c, width, height]), [0, 2, 1]);
      return tf.reshape(back, [n, c, height, width]);
    },
    { attrs: node.attrs },
  );
}

export const movementRules: LoweringRules<
  | 'reshape'
  | 'transpose'
  | 'slice'
  | 'expand'
  | 'concat'
  | 'pad'
  | 'sum'
  | 'upsampleNearest'
  | 'upsampleNearestGrad'
  | 'gather'
  | 'gatherGrad'
  | 'barrier'
> = {
  reshape: ({ emitter, asIs }, { inputs: [x], attrs }) =>
    emitter.emit('reshape', [asIs(x)], (tf, [value]) => tf.reshape(value!, [...attrs.shape]), {
      attrs,
    }),
  transpose: ({ emitter, asIs }, { inputs: [x], attrs }) =>
    emitter.emit('transpose', [asIs(x)], (tf, [value]) => tf.transpose(value!, [...attrs.perm]), {
      attrs,
    }),
  slice: ({ emitter, asIs }, { inputs: [x], attrs, shape }) =>
    emitter.emit(
      'slice',
      [asIs(x)],
      (tf, [value]) => tf.slice(value!, [...attrs.starts], [...shape]),
      { attrs },
    ),
  expand: ({ emitter, asIs }, { inputs: [x], attrs }) =>
    emitter.emit('expand', [asIs(x)], (tf, [value]) => tf.broadcastTo(value!, [...attrs.shape]), {
      attrs,
    }),
  concat: ({ emitter, asIs }, { inputs, attrs: { axis } }) =>
    emitter.emit('concat', inputs.map(asIs), (tf, parts) => tf.concat([...parts], axis), {
      attrs: axis,
    }),
  pad: ({ emitter, asIs }, { inputs: [x], attrs }) => {
    const sides = attrs.before.map((before, i): [number, number] => [before, attrs.after[i]!]);
    return emitter.emit('pad', [asIs(x)], (tf, [value]) => tf.pad(value!, sides), { attrs });
  },
  sum,
  upsampleNearest: upsample,
  upsampleNearestGrad: upsampleGrad,
  gather: ({ emitter, asIs }, { inputs: [table, ids] }) =>
    emitter.emit('gather', [asIs(table), asIs(ids)], (tf, [rows, numbers]) =>
      tf.gather(rows!, numbers!),
    ),
  gatherGrad: ({ emitter, asIs }, { inputs: [ids, ct], attrs: { rows }, shape }) =>
    emitter.emit(
      'gatherGrad',
      [asIs(ids), asIs(ct)],
      (tf, [numbers, slopes]) => {
        const places = tf.reshape(numbers!, [-1, 1]);
        return tf.scatterND(places, tf.reshape(slopes!, [-1, shape[1]!]), [rows, shape[1]!]);
      },
      { attrs: rows },
    ),
  barrier: ({ emitter, asIs }, { inputs: [x] }) => emitter.alias(asIs(x)),
};
