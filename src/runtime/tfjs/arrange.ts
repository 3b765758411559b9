/** @file Weights in the arrangements that TensorFlow.js computes with. */

import type { Tfjs, TfTensor } from './open-tfjs.ts';
import type { Arrangement } from './rules/rule.ts';

const arrangements: {
  readonly [A in Arrangement]: (tf: Tfjs, weight: TfTensor) => TfTensor;
} = {
  asIs: (tf, weight) => tf.clone(weight),
  transposed: (tf, weight) => tf.transpose(weight, [1, 0]),
  kernel: (tf, weight) => tf.transpose(weight, [2, 3, 1, 0]),
  turnedKernel: (tf, weight) => tf.reverse(tf.transpose(weight, [2, 3, 0, 1]), [0, 1]),
};

/** A weight [out, in] or [out, in, kh, kw] in another arrangement. */
export function arrange(tf: Tfjs, weight: TfTensor, arrangement: Arrangement): TfTensor {
  return arrangements[arrangement](tf, weight);
}
