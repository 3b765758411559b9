/** @file Normalisations and their gradients in TensorFlow.js, composed of sums over rows. */

import type { Node } from '../../../graph/ops.ts';
import { type Shape, sizeOf } from '../../../tensor/shape.ts';
import type { Tfjs, TfTensor } from '../open-tfjs.ts';
import type { Value } from '../tfjs-emitter.ts';
import { sumLast } from './movement.ts';
import type { LoweringContext, LoweringRules } from './rule.ts';

/** How a value is seen: its rows are normalised, and channels scaled where it is seen by channels. */
interface Views {
  readonly shape: Shape;
  /** [rows, size]. */
  readonly rows: readonly [number, number];
  /** All dimensions but the middle one are summed for a channel: [before, channels, after]. */
  readonly channels: readonly [number, number, number];
}

function groupViews({ shape }: Node, groups: number): Views {
  const [n, channels] = shape as [number, number];
  const area = sizeOf(shape.slice(2));
  const rows = [n * groups, (channels / groups) * area] as const;
  return { shape, rows, channels: [n, channels, area] };
}

function layerViews({ shape }: Node): Views {
  const size = shape.at(-1)!;
  const count = sizeOf(shape) / size;
  return { shape, rows: [count, size], channels: [count, size, 1] };
}

const meanOfRows = (tf: Tfjs, x: TfTensor) => tf.div(sumLast(tf, x), x.shape[1]!);

/** Rows less their mean, and each row's 1/√(variance + epsilon). */
function centred(tf: Tfjs, x: TfTensor, { rows }: Views, epsilon: number) {
  const flat = tf.reshape(x, [...rows]);
  const difference = tf.sub(flat, meanOfRows(tf, flat));
  const variance = meanOfRows(tf, tf.square(difference));
  return { difference, rstd: tf.div(1, tf.sqrt(tf.add(variance, epsilon))) };
}

/** A vector of channels beside a value seen by channels. */
const perChannel = (tf: Tfjs, vector: TfTensor) => tf.reshape(vector, [1, -1, 1]);

function norm(
  { emitter, asIs }: LoweringContext,
  inputs: readonly [Node, Node, Node],
  views: Views,
  epsilon: number,
): Value {
  return emitter.emit(
    'norm',
    inputs.map(asIs),
    (tf, [x, scale, bias]) => {
      const { difference, rstd } = centred(tf, x!, views, epsilon);
      const channels = tf.reshape(tf.mul(difference, rstd), [...views.channels]);
      const scaled = tf.mul(channels, perChannel(tf, scale!));
      return tf.reshape(tf.add(scaled, perChannel(tf, bias!)), [...views.shape]);
    },
    { attrs: [views, epsilon] },
  );
}

/** With x̂ the normalised x and g = ct·scale: dx = (g - mean(g) - x̂·mean(g·x̂))/std. */
function inputGradient(
  { emitter, asIs }: LoweringContext,
  inputs: readonly [Node, Node, Node],
  views: Views,
  epsilon: number,
): Value {
  return emitter.emit(
    'normInputGrad',
    inputs.map(asIs),
    (tf, [x, scale, ct]) => {
      const { difference, rstd } = centred(tf, x!, views, epsilon);
      const normed = tf.mul(difference, rstd);
      const byChannel = tf.mul(tf.reshape(ct!, [...views.channels]), perChannel(tf, scale!));
      const g = tf.reshape(byChannel, [...views.rows]);
      const along = tf.mul(normed, meanOfRows(tf, tf.mul(g, normed)));
      const dx = tf.mul(tf.sub(tf.sub(g, meanOfRows(tf, g)), along), rstd);
      return tf.reshape(dx, [...views.shape]);
    },
    { attrs: [views, epsilon] },
  );
}

/** dscale = Σ ct·x̂ over all elements of a channel. */
function scaleGradient(
  { emitter, asIs }: LoweringContext,
  inputs: readonly [Node, Node],
  views: Views,
  epsilon: number,
): Value {
  return emitter.emit(
    'normScaleGrad',
    inputs.map(asIs),
    (tf, [x, ct]) => {
      const { difference, rstd } = centred(tf, x!, views, epsilon);
      const products = tf.mul(tf.mul(difference, rstd), tf.reshape(ct!, [...views.rows]));
      return tf.sum(tf.reshape(products, [...views.channels]), [0, 2]);
    },
    { attrs: [views, epsilon] },
  );
}

export const normRules: LoweringRules<
  | 'groupNorm'
  | 'groupNormInputGrad'
  | 'groupNormScaleGrad'
  | 'layerNorm'
  | 'layerNormInputGrad'
  | 'layerNormScaleGrad'
> = {
  groupNorm: (context, { inputs, attrs: { groups, epsilon } }) =>
    norm(context, inputs, groupViews(inputs[0], groups), epsilon),
  groupNormInputGrad: (context, { inputs, attrs: { groups, epsilon } }) =>
    inputGradient(context, inputs, groupViews(inputs[0], groups), epsilon),
  groupNormScaleGrad: (context, { inputs, attrs: { groups, epsilon } }) =>
    scaleGradient(context, inputs, groupViews(inputs[0], groups), epsilon),
  layerNorm: (context, { inputs, attrs: { epsilon } }) =>
    norm(context, inputs, layerViews(inputs[0]), epsilon),
  layerNormInputGrad: (context, { inputs, attrs: { epsilon } }) =>
    inputGradient(context, inputs, layerViews(inputs[0]), epsilon),
  layerNormScaleGrad: (context, { inputs, attrs: { epsilon } }) =>
    scaleGradient(context, inputs, layerViews(inputs[0]), epsilon),
};
