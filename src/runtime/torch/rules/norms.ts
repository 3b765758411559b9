/** @file Normalisations and their gradients in ATen; the forward pass's statistics are kept for the gradients. */

import type { Node } from '../../../graph/ops.ts';
import { sizeOf } from '../../../tensor/shape.ts';
import {
  type Argument,
  flags,
  float,
  maybe,
  none,
  tensor,
  type Value,
  whole,
  wholes,
} from '../torch-emitter.ts';
import type { LoweringContext, LoweringRules } from './rule.ts';

interface GroupAttrs {
  readonly groups: number;
  readonly epsilon: number;
}

/** What a norm gives: the result, and each row's mean and reciprocal deviation. */
type Normed = readonly [result: Value, mean: Value, rstd: Value];

/** An image with the strides that the kernels of norms take: all of one kind. */
function evenStrides({ emitter, codes, target }: LoweringContext, x: Node, value: Value): Value {
  const { contiguous, channelsLast } = codes.memoryFormats;
  const isLast = target.channelsLast && target.normsTakeChannelsLast && x.shape.length === 4;
  const format = isLast ? channelsLast : contiguous;
  return emitter.emit('contiguous', [tensor(value), whole(format)], { dtype: value.dtype });
}

const groupSizes = (x: Node, { groups }: GroupAttrs): Argument[] => {
  const [n, channels] = x.shape as [number, number];
  return [whole(n), whole(channels), whole(sizeOf(x.shape) / n / channels), whole(groups)];
};

/** Statistics come in the type of the input, as PyTorch's own kernels give them. */
function normed(
  { emitter }: LoweringContext,
  op: string,
  args: readonly Argument[],
  { dtype }: Value,
): Normed {
  return emitter.emitMany(op, args, [dtype, dtype, dtype]) as unknown as Normed;
}

/** Group norm of a value, with scale and bias where they are given. */
function groupNormed(
  context: LoweringContext,
  x: Node,
  attrs: GroupAttrs,
  perChannel?: readonly [scale: Value, bias: Value],
): Normed {
  const value = evenStrides(context, x, context.asCompute(x));
  const [scale, bias] = perChannel ?? [];
  const make = () =>
    normed(
      context,
      'native_group_norm',
      [tensor(value), maybe(scale), maybe(bias), ...groupSizes(x, attrs), float(attrs.epsilon)],
      value,
    );
  return noted(context, `groupNorm ${value.id} ${attrs.groups} ${attrs.epsilon}`, perChannel, make);
}

function layerNormed(
  context: LoweringContext,
  x: Node,
  epsilon: number,
  perChannel?: readonly [scale: Value, bias: Value],
): Normed {
  const value = evenStrides(context, x, context.asCompute(x));
  const [scale, bias] = perChannel ?? [];
  const make = () =>
    normed(
      context,
      'native_layer_norm',
      [tensor(value), wholes([x.shape.at(-1)!]), maybe(scale), maybe(bias), float(epsilon)],
      value,
    );
  return noted(context, `layerNorm ${value.id} ${epsilon}`, perChannel, make);
}

/** Gradients find the statistics of the forward pass, whatever its scale and bias. */
function noted(
  { emitter }: LoweringContext,
  key: string,
  perChannel: readonly Value[] | undefined,
  make: () => Normed,
): Normed {
  if (!perChannel) return emitter.noted(key, make) as unknown as Normed;
  const result = make();
  emitter.noted(key, () => result);
  return result;
}

type Wanted = 'input' | 'scale';
/** Of the group norm's gradients: asked for the scale's alone, libtorch 2.13 crashes on channels-last images. */
const groupMasks = { input: flags(true, false, false), scale: flags(true, true, false) };
const layerMasks = { input: flags(true, false, false), scale: flags(false, true, false) };
const place = { input: 0, scale: 1 } as const;

/** The gradient of x, or of the scale, whose own value makes no difference to it. */
function groupGradient(
  context: LoweringContext,
  [x, ct]: readonly [Node, Node],
  attrs: GroupAttrs,
  wanted: Wanted,
  scale: Value,
): Value {
  const { asCompute } = context;
  const [, mean, rstd] = groupNormed(context, x, attrs);
  const args = [
    tensor(evenStrides(context, x, asCompute(ct))),
    tensor(evenStrides(context, x, asCompute(x))),
    tensor(mean),
    tensor(rstd),
    maybe(scale),
    ...groupSizes(x, attrs),
    groupMasks[wanted],
  ];
  return gradientOf(context, 'native_group_norm_backward', args, wanted);
}

function layerGradient(
  context: LoweringContext,
  [x, ct]: readonly [Node, Node],
  epsilon: number,
  wanted: Wanted,
  scale: Value,
): Value {
  const { asCompute } = context;
  const [, mean, rstd] = layerNormed(context, x, epsilon);
  const args = [
    tensor(evenStrides(context, x, asCompute(ct))),
    tensor(evenStrides(context, x, asCompute(x))),
    wholes([x.shape.at(-1)!]),
    tensor(mean),
    tensor(rstd),
    maybe(scale),
    none,
    layerMasks[wanted],
  ];
  return gradientOf(context, 'native_layer_norm_backward', args, wanted);
}

function gradientOf(
  { emitter, target }: LoweringContext,
  op: string,
  args: readonly Argument[],
  wanted: Wanted,
): Value {
  const { compute } = target;
  return emitter.emitMany(op, args, [compute, compute, compute])[place[wanted]]!;
}

const ones = ({ emitter, target }: LoweringContext, channels: number): Value =>
  emitter.constant([1], [channels], target.compute);

export const normRules: LoweringRules<
  | 'groupNorm'
  | 'groupNormInputGrad'
  | 'groupNormScaleGrad'
  | 'layerNorm'
  | 'layerNormInputGrad'
  | 'layerNormScaleGrad'
> = {
  groupNorm: (context, { inputs: [x, scale, bias], attrs }) =>
    groupNormed(context, x, attrs, [context.asCompute(scale), context.asCompute(bias)])[0],
  groupNormInputGrad: (context, { inputs: [x, scale, ct], attrs }) =>
    groupGradient(context, [x, ct], attrs, 'input', context.asCompute(scale)),
  groupNormScaleGrad: (context, { inputs: [x, ct], attrs }) =>
    groupGradient(context, [x, ct], attrs, 'scale', ones(context, x.shape[1]!)),
  layerNorm: (context, { inputs: [x, scale, bias], attrs }) =>
    layerNormed(context, x, attrs.epsilon, [context.asCompute(scale), context.asCompute(bias)])[0],
  layerNormInputGrad: (context, { inputs: [x, scale, ct], attrs }) =>
    layerGradient(context, [x, ct], attrs.epsilon, 'input', context.asCompute(scale)),
  layerNormScaleGrad: (context, { inputs: [x, ct], attrs }) =>
    layerGradient(context, [x, ct], attrs.epsilon, 'scale', ones(context, x.shape.at(-1)!)),
};
