/** @file Convolutions and their gradients in ONNX. */

import type { ConvAttrs, Node, NodeOf } from '../../../graph/ops.ts';
import { arrangedShape, type KernelShape } from '../arrange-kernel.ts';
import type { OnnxEmitter, ValueName } from '../onnx-emitter.ts';
import { batchedProduct, reshaped } from './linear-algebra.ts';
import type { LoweringContext, LoweringRules } from './rule.ts';

/** Ends a backward slice beyond the first element. */
const beforeFirst = 2 ** 31 - 1;

/** Below this many output positions, a batch's weight gradient is one product, not one each. */
const positionsForBatchedProduct = 512;

/**
 * ONNX Runtime's own convolution of channels in blocks. Its inputs are x [n, in, h, w], the kernel in
 * blocks, and the bias where there is one; `shape` is that of the kernel, [out, in, kh, kw].
 */
export function blockedConvolution(
  emitter: OnnxEmitter,
  [x, ...others]: readonly [ValueName, ValueName, ...ValueName[]],
  [out, , kh, kw]: KernelShape,
  { stride, pads }: ConvAttrs,
): ValueName {
  const domain = 'com.microsoft.nchwc';
  const blocks = emitter.emit('ReorderInput', [x], { domain });
  const product = emitter.emit('Conv', [blocks, ...others], {
    attributes: { kernel_shape: [kh, kw], strides: [stride, stride], pads: [...pads] },
    domain,
  });
  return emitter.emit('ReorderOutput', [product], { attributes: { channels: out }, domain });
}

const isPoint = (weight: Node) => weight.shape[2] === 1 && weight.shape[3] === 1;

/** A frozen kernel in blocks, where it can be had and runs faster. */
function blockedKernel(
  { convBlock, arrangedKernel }: LoweringContext,
  weight: Node,
  stride: number,
  flipped: boolean,
): ValueName | undefined {
  const [out, channels] = weight.shape as [number, number];
  // The gradient at other strides needs the plain kernel: one copy is enough.
  const suits = convBlock > 1 && stride === 1 && !isPoint(weight);
  if (!suits || out % convBlock !== 0 || channels % convBlock !== 0) return undefined;
  return arrangedKernel(weight, { flipped, block: convBlock });
}

function convolution(context: LoweringContext, node: NodeOf<'conv2d'>): ValueName {
  const { emitter, nameOf } = context;
  const [x, weight, bias] = node.inputs;
  const { stride, pads } = node.attrs;
  const others = bias ? [nameOf(bias)] : [];
  const kernel = blockedKernel(context, weight, stride, false);
  if (kernel) {
    const shape = weight.shape as KernelShape;
    return blockedConvolution(emitter, [nameOf(x), kernel, ...others], shape, node.attrs);
  }
  return emitter.emit('Conv', [nameOf(x), nameOf(weight), ...others], {
    attributes: { strides: [stride, stride], pads: [...pads] },
  });
}

/**
 * The weight with its first two dimensions swapped and its kernel flipped: a copy that the executor
 * keeps, or one made in the graph where that is cheap; undefined for large frozen kernels.
 */
function flippedKernel(context: LoweringContext, weight: Node): ValueName | undefined {
  const { emitter, nameOf } = context;
  if (weight.op === 'parameter' && !isPoint(weight)) {
    return context.arrangedKernel(weight, { flipped: true, block: 1 });
  }
  const swapped = emitter.emit('Transpose', [nameOf(weight)], {
    attributes: { perm: [1, 0, 2, 3] },
  });
  if (isPoint(weight)) return swapped;
  const last = emitter.integers([-1, -1]);
  return emitter.emit('Slice', [
    swapped,
    last,
    emitter.integers([-beforeFirst, -beforeFirst]),
    emitter.integers([2, 3]),
    last,
  ]);
}

/**
 * The input gradient as a forward convolution by a flipped kernel, which runs faster than
 * ConvTranspose; undefined where there is no such kernel.
 */
function flippedConvolution(
  context: LoweringContext,
  { inputs: [ct, weight], attrs: { stride, pads } }: NodeOf<'conv2dInputGrad'>,
): ValueName | undefined {
  const { emitter, nameOf } = context;
  const shape = arrangedShape(weight.shape as KernelShape, { flipped: true });
  const [, , kh, kw] = shape;
  // ONNX has no negative padding, which padding wider than the kernel would turn into.
  const narrow = pads.every((pad, side) => pad < (side % 2 === 0 ? kh : kw));
  if (stride !== 1 || !narrow) return undefined;
  const [top, left, bottom, right] = pads;
  const window = {
    stride,
    pads: [kh - 1 - top, kw - 1 - left, kh - 1 - bottom, kw - 1 - right],
  } as const;
  const blocked = blockedKernel(context, weight, stride, true);
  if (blocked) return blockedConvolution(emitter, [nameOf(ct), blocked], shape, window);
  const flipped = flippedKernel(context, weight);
  if (flipped === undefined) return undefined;
  return emitter.emit('Conv', [nameOf(ct), flipped], {
    attributes: { strides: [1, 1], pads: window.pads },
  });
}

function inputGradient(context: LoweringContext, node: NodeOf<'conv2dInputGrad'>): ValueName {
  const flipped = flippedConvolution(context, node);
  if (flipped !== undefined) return flipped;
  const { emitter, nameOf } = context;
  const [ct, weight] = node.inputs;
  const { stride, pads, height, width } = node.attrs;
  const [kh, kw] = weight.shape.slice(2) as [number, number];
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
    const each = batchedProduct(emitter, cts, columns, 3, { transposeB: true });
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
  conv2d: convolution,
  conv2dInputGrad: inputGradient,
  conv2dWeightGrad: weightGradient,
};
