/** @file Convolutions and their gradients in ATen. */

import type { ConvAttrs } from '../../../graph/ops.ts';
import {
  type Argument,
  flag,
  flags,
  maybe,
  none,
  type TorchEmitter,
  tensor,
  text,
  type Value,
  whole,
  wholes,
} from '../torch-emitter.ts';
import type { LoweringContext, LoweringRules } from './rule.ts';

/** ATen pads both sides alike: the padding that it does, and what is to be added outside of it. */
function splitPads({ pads: [top, left, bottom, right] }: ConvAttrs) {
  const even = top === bottom && left === right;
  return {
    padding: even ? [top, left] : [0, 0],
    /** Columns and rows before and after, innermost dimension first, as `aten::pad` wants them. */
    outside: even ? null : [left, right, top, bottom],
  };
}

function padded(emitter: TorchEmitter, x: Value, outside: readonly number[] | null): Value {
  if (!outside) return x;
  const args = [tensor(x), wholes(outside), text('constant'), none];
  return emitter.emit('pad', args, { dtype: x.dtype });
}

/** stride, padding, dilation, transposed, output padding, groups. */
const window = (
  stride: number,
  padding: readonly number[],
  transposed: boolean,
  outputPadding: readonly number[],
): Argument[] => [
  wholes([stride, stride]),
  wholes(padding),
  wholes([1, 1]),
  flag(transposed),
  wholes(outputPadding),
  whole(1),
];

/** Takes `size` rows or columns of an image from `start` on. */
function cut(emitter: TorchEmitter, x: Value, axis: number, start: number, size: number): Value {
  const args = [tensor(x), whole(axis), whole(start), whole(size)];
  return emitter.emit('narrow', args, { dtype: x.dtype });
}

/** The input gradient is the transposed convolution of the cotangent. */
const inputGradient: LoweringRules<'conv2dInputGrad'>['conv2dInputGrad'] = (
  { emitter, asCompute, target },
  { inputs: [ct, weight], attrs },
) => {
  const { stride, pads, height, width } = attrs;
  const [kh, kw] = weight.shape.slice(2) as [number, number];
  const [oh, ow] = ct.shape.slice(2) as [number, number];
  const [top, left, bottom, right] = pads;
  const { padding, outside } = splitPads(attrs);
  const [fullHeight, fullWidth] = outside
    ? [height + top + bottom, width + left + right]
    : [height, width];
  // Rows and columns that a stride left over belong to the input too.
  const rest = [
    fullHeight - ((oh - 1) * stride + kh - 2 * padding[0]!),
    fullWidth - ((ow - 1) * stride + kw - 2 * padding[1]!),
  ];
  const full = emitter.emit(
    'convolution',
    [
      tensor(asCompute(ct)),
      tensor(asCompute(weight)),
      none,
      ...window(stride, padding, true, rest),
    ],
    { dtype: target.compute },
  );
  if (!outside) return full;
  return cut(emitter, cut(emitter, full, 2, top, height), 3, left, width);
};

/** Zeros of a shape that take no memory, where ATen only looks at the shape. */
function shapeOnly({ emitter, target }: LoweringContext, shape: readonly number[]): Value {
  const zero = emitter.constant([0], [], target.compute);
  const args = [tensor(zero), wholes(shape), flag(false)];
  return emitter.emit('expand', args, { dtype: zero.dtype });
}

export const convolutionRules: LoweringRules<'conv2d' | 'conv2dInputGrad' | 'conv2dWeightGrad'> = {
  conv2d: ({ emitter, asCompute, target }, { inputs: [x, weight, bias], attrs }) => {
    const { padding, outside } = splitPads(attrs);
    return emitter.emit(
      'convolution',
      [
        tensor(padded(emitter, asCompute(x), outside)),
        tensor(asCompute(weight)),
        maybe(bias && asCompute(bias)),
        ...window(attrs.stride, padding, false, [0, 0]),
      ],
      { dtype: target.compute },
    );
  },
  conv2dInputGrad: inputGradient,
  conv2dWeightGrad: (context, { inputs: [x, ct], attrs, shape }) => {
    const { emitter, asCompute, target } = context;
    const { padding, outside } = splitPads(attrs);
    const args = [
      tensor(asCompute(ct)),
      tensor(padded(emitter, asCompute(x), outside)),
      tensor(shapeOnly(context, shape)),
      none,
      ...window(attrs.stride, padding, false, [0, 0]),
      flags(false, true, false),
    ];
    const types = [target.compute, target.compute, target.compute];
    return emitter.emitMany('convolution_backward', args, types)[1]!;
  },
};
