/** @file Elementwise operations and activations in TensorFlow.js. */

import type { Node } from '../../../graph/ops.ts';
import type { Tfjs, TfTensor } from '../open-tfjs.ts';
import type { Compute, Value } from '../tfjs-emitter.ts';
import type { LoweringContext, LoweringRules } from './rule.ts';

/** The factor of CLIP's quick GELU. */
const quickGeluFactor = 1.702;

/** A rule for an operation on values that all lie alike. */
const elementwise =
  (name: string, compute: Compute) =>
  (
    { emitter, alike }: LoweringContext,
    { inputs }: { readonly inputs: readonly Node[] },
  ): Value => {
    const values = alike(inputs);
    return emitter.emit(name, values, compute, { layout: values[0]!.layout });
  };

type Unary = (tf: Tfjs, x: TfTensor) => TfTensor;
type Binary = (tf: Tfjs, a: TfTensor, b: TfTensor) => TfTensor;

const unary = (name: string, compute: Unary) => elementwise(name, (tf, [x]) => compute(tf, x!));
const binary = (name: string, compute: Binary) =>
  elementwise(name, (tf, [a, b]) => compute(tf, a!, b!));

/** Φ(x), the normal distribution's share below x. */
const below: Unary = (tf, x) => tf.add(tf.mul(tf.erf(tf.mul(x, Math.SQRT1_2)), 0.5), 0.5);

/** The slope of Φ. */
const density: Unary = (tf, x) =>
  tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));

/** The slope of z·σ(z): σ + z·σ·(1 - σ). */
const siluSlope: Unary = (tf, z) => {
  const s = tf.sigmoid(z);
  return tf.add(s, tf.mul(z, tf.sub(s, tf.square(s))));
};

export const elementwiseRules: LoweringRules<
  | 'add'
  | 'sub'
  | 'mul'
  | 'div'
  | 'select'
  | 'exp'
  | 'sqrt'
  | 'sigmoid'
  | 'silu'
  | 'gelu'
  | 'quickGelu'
  | 'siluGrad'
  | 'geluGrad'
  | 'quickGeluGrad'
> = {
  add: binary('add', (tf, a, b) => tf.add(a, b)),
  sub: binary('sub', (tf, a, b) => tf.sub(a, b)),
  mul: binary('mul', (tf, a, b) => tf.mul(a, b)),
  div: binary('div', (tf, a, b) => tf.div(a, b)),
  select: ({ emitter, asIs, alike }, { inputs: [condition, ...choices] }) => {
    const [a, b] = alike(choices) as [Value, Value];
    const compute: Compute = (tf, [c, x, y]) => tf.where(tf.greater(c!, 0), x!, y!);
    return emitter.emit('select', [asIs(condition), a, b], compute, { layout: a.layout });
  },
  exp: unary('exp', (tf, x) => tf.exp(x)),
  sqrt: unary('sqrt', (tf, x) => tf.sqrt(x)),
  sigmoid: unary('sigmoid', (tf, x) => tf.sigmoid(x)),
  silu: unary('silu', (tf, x) => tf.mul(x, tf.sigmoid(x))),
  gelu: unary('gelu', (tf, x) => tf.mul(x, below(tf, x))),
  quickGelu: unary('quickGelu', (tf, x) => tf.mul(x, tf.sigmoid(tf.mul(x, quickGeluFactor)))),
  siluGrad: binary('siluGrad', (tf, x, ct) => tf.mul(ct, siluSlope(tf, x))),
  geluGrad: binary('geluGrad', (tf, x, ct) =>
    tf.mul(ct, tf.add(below(tf, x), tf.mul(x, density(tf, x)))),
  ),
  // x·σ(f·x) is silu(f·x)/f, so its slope is that of silu at f·x.
  quickGeluGrad: binary('quickGeluGrad', (tf, x, ct) =>
    tf.mul(ct, siluSlope(tf, tf.mul(x, quickGeluFactor))),
  ),
};
