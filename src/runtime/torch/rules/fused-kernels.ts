/** @file What kernels of our own compute; norms keep the statistics of the forward pass for the gradients. */

import type { Node, NodeOf } from '../../../graph/ops.ts';
import { sizeOf } from '../../../tensor/shape.ts';
import { channelsLastStrides } from '../device-memory.ts';
import type { FusedKernel, ImageSum } from '../find-fused-kernels.ts';
import type { PointwiseChain } from '../find-pointwise.ts';
import { gegluGradLaunch, gegluLaunch } from '../kernels/geglu.ts';
import {
  type GroupNormTerms,
  groupNormGradLaunch,
  groupNormGradStatisticsLaunch,
  groupNormLaunch,
  groupNormStatisticsLaunch,
  groupNormSums,
} from '../kernels/group-norm.ts';
import type { GroupNormSize } from '../kernels/group-norm-blocks.ts';
import { layerNormGradLaunch, layerNormLaunch } from '../kernels/layer-norm.ts';
import { pointwiseLaunch } from '../kernels/pointwise.ts';
import { tensor, type Value, whole } from '../torch-emitter.ts';
import { matrixShape } from './linear-algebra.ts';
import type { LoweringContext } from './rule.ts';

type Of<K extends FusedKernel['kind']> = FusedKernel & { readonly kind: K };

/** The value in the compute type, row-major or, of an image, with its channels innermost. */
function arranged({ emitter, codes, asCompute }: LoweringContext, node: Node): Value {
  const { contiguous, channelsLast } = codes.memoryFormats;
  const value = asCompute(node);
  const format = whole(node.shape.length === 4 ? channelsLast : contiguous);
  return emitter.emit('contiguous', [tensor(value), format], { dtype: value.dtype });
}

/** A result of a node's shape that lies as `arranged` gives it. */
const like = ({ target }: LoweringContext, { shape }: Node) => ({
  shape,
  dtype: target.compute,
  ...(shape.length === 4 ? { strides: channelsLastStrides(shape) } : {}),
});

/** Tensors of f32, for statistics. */
const floats = (size: number) => ({ shape: [size], dtype: 'f32' }) as const;

function geglu(context: LoweringContext, node: Node, { projected }: Of<'geglu'>): Value {
  const { emitter, target } = context;
  const launch = gegluLaunch(target.compute, ...matrixShape(node));
  return emitter.launch(launch, [arranged(context, projected)], [like(context, node)])[0]!;
}

function gegluGrad(context: LoweringContext, node: Node, kernel: Of<'gegluGrad'>): Value {
  const { emitter, target } = context;
  const { projected, ct, again } = kernel;
  const launch = gegluGradLaunch(target.compute, ...matrixShape(ct), {
    again: again !== undefined,
  });
  const [gradient, value] = emitter.launch(
    launch,
    [arranged(context, projected), arranged(context, ct)],
    [like(context, node), ...(again ? [like(context, again)] : [])],
  );
  if (again) context.define(again, value!);
  return gradient!;
}

const groupSize = (x: Node, { groups }: { readonly groups: number }): GroupNormSize => {
  const [images, channels, height, width] = x.shape as [number, number, number, number];
  return { images, channels, groups, pixels: height * width };
};

const noTerms: GroupNormTerms = { image: false, perImage: false, perChannel: false };

/** Sums of the parts of an image. */
function partSums(context: LoweringContext, x: Node, size: GroupNormSize): Value {
  const { emitter, target } = context;
  const value = arranged(context, x);
  return emitter.noted(`groupNorm sums ${value.id} ${size.groups}`, () =>
    emitter.launch(
      groupNormStatisticsLaunch(target.compute, size, noTerms),
      [value],
      [floats(groupNormSums(target.compute, size))],
    ),
  )[0]!;
}

/** Defines the sum that is normalized, and notes the sums of its parts, which come with it. */
function defineImageSum(context: LoweringContext, sum: ImageSum, size: GroupNormSize): void {
  const { emitter, target, asCompute } = context;
  const { node, image, other, bias } = sum;
  const isImage = sizeOf(other.shape) === sizeOf(node.shape);
  const terms = { image: isImage, perImage: !isImage, perChannel: bias !== undefined };
  // [n, c, 1, 1] lies the same in every order.
  const inputs = [arranged(context, image), arranged(context, other)];
  const [total, sums] = emitter.launch(
    groupNormStatisticsLaunch(target.compute, size, terms),
    [...inputs, ...(bias ? [asCompute(bias)] : [])],
    [like(context, node), floats(groupNormSums(target.compute, size))],
  ) as [Value, Value];
  context.define(node, total);
  emitter.noted(`groupNorm sums ${arranged(context, node).id} ${size.groups}`, () => [sums]);
}

/** The result, each group's mean and reciprocal deviation. */
function groupNormed(
  context: LoweringContext,
  norm: Pick<NodeOf<'groupNorm'>, 'attrs'> & { readonly x: Node },
  perChannel: { readonly scale: Value; readonly bias: Value },
  silu: boolean,
): readonly Value[] {
  const { emitter, target } = context;
  const { x, attrs } = norm;
  const { compute } = target;
  const size = groupSize(x, attrs);
  const value = arranged(context, x);
  const sums = partSums(context, x, size);
  const perGroup = floats(size.images * size.groups);
  const results = emitter.launch(
    groupNormLaunch(compute, size, attrs.epsilon, { silu }),
    [value, sums, perChannel.scale, perChannel.bias],
    [like(context, x), perGroup, perGroup],
  );
  const key = `groupNorm statistics ${value.id} ${attrs.groups} ${attrs.epsilon}`;
  emitter.noted(key, () => results.slice(1));
  return results;
}

function groupNorm(context: LoweringContext, { norm, silu, sum }: Of<'groupNorm'>): Value {
  const [x, scale, bias] = norm.inputs;
  if (sum) defineImageSum(context, sum, groupSize(x, norm.attrs));
  const perChannel = { scale: context.asCompute(scale), bias: context.asCompute(bias) };
  return groupNormed(context, { x, attrs: norm.attrs }, perChannel, silu)[0]!;
}

function groupNormGrad(context: LoweringContext, node: Node, kernel: Of<'groupNormGrad'>): Value {
  const { emitter, target } = context;
  const { compute } = target;
  const { grad, ct, bias, rest } = kernel;
  const [x, scale] = grad.inputs;
  const { attrs } = grad;
  const size = groupSize(x, attrs);
  const value = arranged(context, x);
  const factor = context.asCompute(scale);
  const key = `groupNorm statistics ${value.id} ${attrs.groups} ${attrs.epsilon}`;
  const statistics = emitter.noted(key, () =>
    // Of a norm whose result nobody wants: any bias will do.
    groupNormed(context, { x, attrs }, { scale: factor, bias: factor }, false).slice(1),
  ) as readonly Value[];
  const silu = bias !== undefined;
  const inputs = [
    value,
    arranged(context, ct),
    factor,
    ...(bias ? [context.asCompute(bias)] : []),
    ...statistics,
  ];
  const [sums] = emitter.launch(groupNormGradStatisticsLaunch(compute, size, { silu }), inputs, [
    floats(groupNormSums(compute, size)),
  ]) as [Value];
  return emitter.launch(
    groupNormGradLaunch(compute, size, { silu, adds: rest !== undefined }),
    [...inputs, sums, ...(rest ? [arranged(context, rest)] : [])],
    [like(context, node)],
  )[0]!;
}

function layerNorm(context: LoweringContext, node: Node, { norm, sum }: Of<'layerNorm'>): Value {
  const { emitter, target, asCompute } = context;
  const [x, scale, bias] = norm.inputs;
  const { epsilon } = norm.attrs;
  const size = matrixShape(node);
  const terms = (sum?.inputs ?? [x]).map((term: Node) => arranged(context, term));
  const perRow = floats(size[0]);
  const results = emitter.launch(
    layerNormLaunch(target.compute, size, epsilon, { sums: sum !== undefined }),
    [...terms, asCompute(scale), asCompute(bias)],
    [...(sum ? [like(context, node)] : []), like(context, node), perRow, perRow],
  );
  if (sum) context.define(sum, results[0]!);
  const [result, ...statistics] = results.slice(sum ? 1 : 0) as [Value, ...Value[]];
  emitter.noted(`layerNorm statistics ${arranged(context, x).id} ${epsilon}`, () => statistics);
  return result;
}

function layerNormGrad(context: LoweringContext, node: Node, kernel: Of<'layerNormGrad'>): Value {
  const { emitter, target } = context;
  const { grad, rest, again } = kernel;
  const [x, scale, ct] = grad.inputs;
  const { epsilon } = grad.attrs;
  const size = matrixShape(x);
  const value = arranged(context, x);
  const factor = context.asCompute(scale);
  const perRow = floats(size[0]);
  const statistics = emitter.noted(`layerNorm statistics ${value.id} ${epsilon}`, () =>
    emitter
      .launch(
        layerNormLaunch(target.compute, size, epsilon, { sums: false }),
        [value, factor, factor],
        [like(context, x), perRow, perRow],
      )
      .slice(1),
  ) as readonly Value[];
  const [gradient, normed] = emitter.launch(
    layerNormGradLaunch(target.compute, size, {
      adds: rest !== undefined,
      again: again !== undefined,
    }),
    [
      value,
      arranged(context, ct),
      ...(rest ? [arranged(context, rest)] : []),
      factor,
      ...(again ? [context.asCompute(again.inputs[2])] : []),
      ...statistics,
    ],
    [like(context, node), ...(again ? [like(context, again)] : [])],
  );
  if (again) context.define(again, normed!);
  return gradient!;
}

/** In f32, as the variables are. */
const readByChain = ({ emitter, codes, asType }: LoweringContext, { inputs }: PointwiseChain) =>
  inputs.map((input) => {
    const args = [tensor(asType(input, 'f32')), whole(codes.memoryFormats.contiguous)];
    return emitter.emit('contiguous', args, { dtype: 'f32' });
  });

function pointwise(context: LoweringContext, node: Node, { chain }: Of<'pointwise'>): Value {
  const results = context.emitter.launch(
    pointwiseLaunch(chain),
    readByChain(context, chain),
    chain.outputs.map(({ shape }) => ({ shape, dtype: 'f32' })),
  );
  for (const [i, output] of chain.outputs.entries()) context.define(output, results[i]!);
  return results[chain.outputs.indexOf(node)]!;
}

/** Emits the launch of a chain whose outputs are written over variables. */
export function updateInPlace(
  context: LoweringContext,
  chain: PointwiseChain,
  variables: readonly Value[],
): void {
  const launch = pointwiseLaunch(chain, { mayAlias: true });
  context.emitter.launchOver(launch, readByChain(context, chain), variables);
}

/** Emits the launches for a node and gives the value that they make. */
export function fusedValue(context: LoweringContext, node: Node, kernel: FusedKernel): Value {
  switch (kernel.kind) {
    case 'geglu':
      return geglu(context, node, kernel);
    case 'gegluGrad':
      return gegluGrad(context, node, kernel);
    case 'groupNorm':
      return groupNorm(context, kernel);
    case 'groupNormGrad':
      return groupNormGrad(context, node, kernel);
    case 'layerNorm':
      return layerNorm(context, node, kernel);
    case 'layerNormGrad':
      return layerNormGrad(context, node, kernel);
    case 'pointwise':
      return pointwise(context, node, kernel);
  }
}
