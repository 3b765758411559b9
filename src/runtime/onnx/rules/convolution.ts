/** @file Convolutions and their gradients in ONNX. */

import type { Node, NodeOf } from '../../../graph/ops.ts';
import type { OnnxEmitter, ValueName } from '../onnx-emitter.ts';
import { batchedProduct, reshaped } from './linear-algebra.ts';
import type { LoweringContext, LoweringRules } from './rule.ts';

/** Ends a backward slice beyond the first element. */
const beforeFirst = 2 ** 31 - 1;

/** Below this many output positions, a batch's weight gradient is one product, not one each. */
const positionsForBatchedProduct = 512;

/** The input gradient as a forward convolution by flipped kernels, which runs faster than ConvTranspose. */
function flippedConvolution(
  { emitter, nameOf }: LoweringContext,
  { inputs: [ct, weight], attrs: { pads } }: NodeOf<'conv2dInputGrad'>,
  flipped: ValueName,
): ValueName {
  const [kh, kw] = weight.shape.slice(2) as [number, number];
  const [top, left, bottom, right] = pads;
  return emitter.emit('Conv', [nameOf(ct), flipped], {
    attributes: {
      strides: [1, 1],
      pads: [kh - 1 - top, kw - 1 - left, kh - 1 - bottom, kw - 1 - right],
    },
  });
}

/**
 * The weight with its first two dimensions swapped and its kernel flipped: a copy that the executor
 * keeps, or one made in the graph where that is cheap; undefined for large frozen kernels.
 */
function flippedKernel(context: LoweringContext, weight: Node): ValueName | undefined {
  const { emitter, nameOf } = context;
  const isPoint = weight.shape[2] === 1 && weight.shape[3] === 1;
  if (weight.op === 'parameter' && !isPoint) return context.flippedWeight(weight);
  const swapped = emitter.emit('Transpose', [nameOf(weight)], {
    attributes: { perm: [1, 0, 2, 3] },
  });
  if (isPoint) return swapped;
  const last = emitter.integers([-1, -1]);
  return emitter.emit('Slice', [
    swapped,
    last,
    emitter.integers([-beforeFirst, -beforeFirst]),
    emitter.integers([2, 3]),
    last,
  ]);
}

function inputGradient(context: LoweringContext, node: NodeOf<'conv2dInputGrad'>): ValueName {
  const { emitter, nameOf } = context;
  const [ct, weight] = node.inputs;
  const { stride, pads, height, width } = node.attrs;
  const [kh, kw] = weight.shape.slice(2) as [number, number];
  // ONNX has no negative padding, which padding wider than the kernel would turn into.
  const narrow = pads.every((pad, side) => pad < (side % 2 === 0 ? kh : kw));
  const flipped = stride === 1 && narrow ? flippedKernel(context, weight) : undefined;
  if (flipped) return flippedConvolution(context, node, flipped);
  const [top, left, bottom, right] = pads;
  const [oh, ow] = ct.shape.slice(2) as [number, number];
  // Rows and columns that a stride left over belong to the input too.
  const restHeight = height - ((oh - 1) * stride + kh - top - bottom);
  const restWidth = width - ((ow - 1) * stride + kw - left - right);
  return emitter.emit('ConvTranspose', [nameOf(ct), nameOf(weight)], {
    attributes: {
      strides: [stride, stride],
      pads: [...pads],
      output_padding: [restHeight, restWidth],
    },
  });
}

/** The input under each tap of the kernel: [n, taps·in, positions]. */
function tapColumns(
  { emitter, nameOf }: LoweringContext,
  { inputs: [x, ct], attrs: { stride, pads, kernel } }: NodeOf<'conv2dWeightGrad'>,
): ValueName {
  const [n, channels, height, width] = x.shape as [number, number, number, number];
  const [oh, ow] = ct.shape.slice(2) as [number, number];
  const [kh, kw] = kernel;
  if (kh * kw === 1 && stride === 1 && pads.every((p) => p === 0)) {
    return reshaped(emitter, nameOf(x), x.shape, [n, channels, height * width]);
  }
  const padded = pads.some((p) => p > 0)
    ? emitter.emit('Pad', [
        nameOf(x),
        emitter.integers([0, 0, pads[0], pads[1], 0, 0, pads[2], pads[3]]),
      ])
    : nameOf(x);
  const taps: ValueName[] = [];
  for (let i = 0; i < kh; i++) {
    for (let j = 0; j < kw; j++) {
      taps.push(
        emitter.emit('Slice', [
          padded,
          emitter.integers([i, j]),
          emitter.integers([i + (oh - 1) * stride + 1, j + (ow - 1) * stride + 1]),
          emitter.integers([2, 3]),
          emitter.integers([stride, stride]),
        ]),
      );
    }
  }
  const all = emitter.emit('Concat', taps, { attributes: { axis: 1 } });
  return emitter.emit('Reshape', [all, emitter.integers([n, kh * kw * channels, oh * ow])]);
}

/** [rows of each sample, n, positions] from [n, rows, positions], as a matrix. */
function samplesInside(emitter: OnnxEmitter, value: ValueName, rows: number): ValueName {
  const moved = emitter.emit('Transpose', [value], { attributes: { perm: [1, 0, 2] } });
  return emitter.emit('Reshape', [moved, emitter.integers([rows, -1])]);
}

function weightGradient(context: LoweringContext, node: NodeOf<'conv2dWeightGrad'>): ValueName {
  const { emitter, nameOf } = context;
  const [x, ct] = node.inputs;
  const [kh, kw] = node.attrs.kernel;
  const [n, out, oh, ow] = ct.shape as [number, number, number, number];
  const channels = x.shape[1]!;
  const columns = tapColumns(context, node);
  const cts = reshaped(emitter, nameOf(ct), ct.shape, [n, out, oh * ow]);
  let product: ValueName;
  if (n === 1 || oh * ow >= positionsForBatchedProduct) {
    const each = batchedProduct(emitter, cts, columns, { transposeB: true });
    product = emitter.emit('ReduceSum', [each, emitter.integers([0])], {
      attributes: { keepdims: 0 },
    });
  } else {
    product = emitter.emit(
      'Gemm',
      [samplesInside(emitter, cts, out), samplesInside(emitter, columns, kh * kw * channels)],
      { attributes: { transB: 1 } },
    );
  }
  if (kh * kw === 1) return emitter.emit('Reshape', [product, emitter.integers(node.shape)]);
  const taps = emitter.emit('Reshape', [product, emitter.integers([out, kh * kw, channels])]);
  const moved = emitter.emit('Transpose', [taps], { attributes: { perm: [0, 2, 1] } });
  return emitter.emit('Reshape', [moved, emitter.integers(node.shape)]);
}

export const convolutionRules: LoweringRules<'conv2d' | 'conv2dInputGrad' | 'conv2dWeightGrad'> = {
  conv2d: ({ emitter, nameOf }, { inputs, attrs: { stride, pads } }) =>
    emitter.emit('Conv', inputs.map(nameOf), {
      attributes: { strides: [stride, stride], pads: [...pads] },
    }),
  conv2dInputGrad: inputGradient,
  conv2dWeightGrad: weightGradient,
};
