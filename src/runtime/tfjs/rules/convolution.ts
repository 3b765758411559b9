/** @file Convolutions and their gradients in TensorFlow.js, on images with their channels last. */

import type { ConvAttrs, NodeOf } from '../../../graph/ops.ts';
import type { Tfjs, TfTensor } from '../open-tfjs.ts';
import type { Value } from '../tfjs-emitter.ts';
import { product } from './linear-algebra.ts';
import type { LoweringContext, LoweringRules } from './rule.ts';

type Tensor4D = import('@tensorflow/tfjs-core').Tensor4D;

/** Rows or columns before and after; negative ones are cut off. */
type Border = readonly [before: number, after: number];

/** An image with zeros added or pixels cut off at its borders. */
function bordered(tf: Tfjs, x: TfTensor, vertical: Border, horizontal: Border): TfTensor {
  const borders = [[0, 0], vertical, horizontal, [0, 0]] as [number, number][];
  const starts = borders.map(([before]) => Math.max(0, -before));
  const sizes = borders.map(([, after], i) => x.shape[i]! - starts[i]! - Math.max(0, -after));
  const isCut = sizes.some((size, i) => size !== x.shape[i]);
  const cut = isCut ? tf.slice(x, starts, sizes) : x;
  const pads = borders.map((sides) => sides.map((side) => Math.max(0, side)) as [number, number]);
  return pads.flat().some((side) => side > 0) ? tf.pad(cut, pads) : cut;
}

/** An image's pixels `stride` apart, zeros between them. */
function spread(tf: Tfjs, x: TfTensor, stride: number): TfTensor {
  if (stride === 1) return x;
  const [n, h, w, c] = x.shape as [number, number, number, number];
  const apart = tf.pad(tf.reshape(x, [n, h, 1, w, 1, c]), [
    [0, 0],
    [0, 0],
    [0, stride - 1],
    [0, 0],
    [0, stride - 1],
    [0, 0],
  ]);
  const sizes = [n, (h - 1) * stride + 1, (w - 1) * stride + 1, c];
  return tf.slice(tf.reshape(apart, [n, h * stride, w * stride, c]), [0, 0, 0, 0], sizes);
}

/**
 * The input gradient as a convolution: dx[y] = Σ ct[oy]·w[y + top - stride·oy], so the cotangent is
 * spread by the stride and convolved with the kernel turned round.
 */
function turnedGradient(
  { emitter, asImage, arranged }: LoweringContext,
  { inputs: [ct, weight], attrs }: NodeOf<'conv2dInputGrad'>,
): Value {
  const { stride, pads, height, width } = attrs;
  const [top, left] = pads;
  const [kh, kw] = weight.shape.slice(2) as [number, number];
  const [oh, ow] = ct.shape.slice(2) as [number, number];
  const vertical: Border = [kh - 1 - top, height - (stride * (oh - 1) + 1) + top];
  const horizontal: Border = [kw - 1 - left, width - (stride * (ow - 1) + 1) + left];
  return emitter.emit(
    'conv2dInputGrad',
    [asImage(ct), arranged(weight, 'turnedKernel')],
    (tf, [image, kernel]) => {
      const full = bordered(tf, spread(tf, image!, stride), vertical, horizontal);
      return tf.conv2d(full as Tensor4D, kernel as Tensor4D, 1, 'valid');
    },
    { attrs, layout: 'image' },
  );
}

/** The same by the back end's operation, which knows no padding but none. */
function ownGradient(
  { emitter, asImage, arranged }: LoweringContext,
  { inputs: [ct, weight], attrs }: NodeOf<'conv2dInputGrad'>,
): Value {
  const { stride, pads, height, width } = attrs;
  const [top, left, bottom, right] = pads;
  const [n, channels] = [ct.shape[0]!, weight.shape[1]!];
  const padded = [n, height + top + bottom, width + left + right, channels] as const;
  return emitter.emit(
    'conv2dInputGrad',
    [asImage(ct), arranged(weight, 'kernel')],
    (tf, [image, kernel]) => {
      const shape = [...padded] as [number, number, number, number];
      const [x, filter] = [image as Tensor4D, kernel as Tensor4D];
      const full = tf.conv2dTranspose(x, filter, shape, stride, 'valid');
      return tf.slice(full, [0, top, left, 0], [n, height, width, channels]);
    },
    { attrs, layout: 'image' },
  );
}

/** The pixels of a padded image that one element of the kernel meets, as rows [n·oh·ow, c]. */
function met(
  tf: Tfjs,
  x: TfTensor,
  [ky, kx]: readonly [number, number],
  [oh, ow]: readonly [number, number],
  stride: number,
): TfTensor {
  const [n, , , c] = x.shape as [number, number, number, number];
  const start = [0, ky, kx, 0];
  const ends = [n, ky + (oh - 1) * stride + 1, kx + (ow - 1) * stride + 1, c];
  const pixels =
    stride === 1
      ? tf.slice(x, start, [n, oh, ow, c])
      : tf.stridedSlice(x, start, ends, [1, stride, stride, 1]);
  return tf.reshape(pixels, [n * oh * ow, c]);
}

/** dw[o, c] of each element of the kernel: the cotangents times the pixels that it meets. */
function weightGradient(
  { emitter, asIs, asImage, target }: LoweringContext,
  { inputs: [x, ct], attrs, shape }: NodeOf<'conv2dWeightGrad'>,
): Value {
  const { stride, pads, kernel } = attrs;
  const [top, left, bottom, right] = pads;
  const [out] = shape as [number];
  const size = ct.shape.slice(2) as [number, number];
  const taps = Array.from({ length: kernel[0] * kernel[1] }, (_, i): [number, number] => [
    Math.floor(i / kernel[1]),
    i % kernel[1],
  ]);
  return emitter.emit(
    'conv2dWeightGrad',
    [asImage(x), asIs(ct)],
    (tf, [image, slopes]) => {
      const full = bordered(tf, image!, [top, bottom], [left, right]);
      const rows = tf.reshape(tf.transpose(slopes!, [1, 0, 2, 3]), [out, -1]);
      const parts = taps.map((tap) => product(tf, target, rows, met(tf, full, tap, size, stride)));
      return tf.reshape(tf.stack(parts, 2), [...shape]);
    },
    { attrs },
  );
}

export const convolutionRules: LoweringRules<'conv2d' | 'conv2dInputGrad' | 'conv2dWeightGrad'> = {
  conv2d: ({ emitter, asIs, asImage, arranged }, { inputs: [x, weight, bias], attrs }) =>
    emitter.emit(
      'conv2d',
      [asImage(x), arranged(weight, 'kernel'), ...(bias ? [asIs(bias)] : [])],
      (tf, [image, kernel, b]) =>
        tf.fused.conv2d({
          x: image as Tensor4D,
          filter: kernel as Tensor4D,
          strides: attrs.stride,
          pad: explicit(attrs),
          ...(b && { bias: b }),
        }),
      { attrs, layout: 'image' },
    ),
  conv2dInputGrad: (context, node) =>
    context.target.gradientKernel ? ownGradient(context, node) : turnedGradient(context, node),
  conv2dWeightGrad: weightGradient,
};

/** Padding as TensorFlow.js wants it. */
function explicit({ pads: [top, left, bottom, right] }: ConvAttrs) {
  return [
    [0, 0],
    [top, bottom],
    [left, right],
    [0, 0],
  ] as [[number, number], [number, number], [number, number], [number, number]];
}
