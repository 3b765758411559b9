/** @file Attention and its gradient in ATen, by the kernels of the device or composed of products. */

import type { AttentionAttrs, Node } from '../../../graph/ops.ts';
import {
  type Argument,
  flag,
  flags,
  float,
  none,
  some,
  tensor,
  undefinedTensor,
  type Value,
  whole,
} from '../torch-emitter.ts';
import type { TorchDType } from '../torch-library.ts';
import { mergeHeads, repeatHeads, splitHeads, sumChunks } from './attention-heads.ts';
import { product, swapped } from './linear-algebra.ts';
import type { AttentionKernel, AttentionSizes, LoweringContext, LoweringRules } from './rule.ts';

/** Query, key and value as [n, heads, tokens, d]. */
type Heads = readonly [q: Value, k: Value, v: Value];

/** What the forward pass leaves for the backward pass: its output, and what else a kernel needs. */
interface Attended {
  readonly out: Value;
  readonly saved: readonly Value[];
}

/** How one kernel attends and differentiates. */
interface Kernel {
  readonly forward: (context: LoweringContext, heads: Heads, sizes: AttentionSizes) => Attended;
  /** Gradients of q, k and v. */
  readonly backward: (
    context: LoweringContext,
    heads: Heads,
    attended: Attended,
    ct: Value,
    sizes: AttentionSizes,
  ) => Heads;
}

const noDropout = float(0);

const cpuKernel: Kernel = {
  forward: ({ emitter }, heads, { causal, scale }) => {
    const args = [...heads.map(tensor), noDropout, flag(causal), none, some(float(scale))];
    const types = [heads[0].dtype, 'f32'] as const;
    const op = '_scaled_dot_product_flash_attention_for_cpu';
    const [out, logsumexp] = emitter.emitMany(op, args, types);
    return { out: out!, saved: [logsumexp!] };
  },
  backward: ({ emitter }, heads, { out, saved }, ct, { causal, scale }) => {
    const inputs = [ct, ...heads, out, ...saved].map(tensor);
    const args = [...inputs, noDropout, flag(causal), none, some(float(scale))];
    const op = '_scaled_dot_product_flash_attention_for_cpu_backward';
    return emitter.emitMany(op, args, heads.map(typeOf)) as unknown as Heads;
  },
};

/**
 * Flash and cuDNN give the output, logsumexp, cumulative lengths of q and k, which only batches of several
 * lengths have, lengths of q and k, two tensors about the dropout, and a mask for debugging. Of these
 * the gradient wants logsumexp, the cumulative lengths and the two tensors.
 */
function fusedForward(
  { emitter }: LoweringContext,
  op: string,
  heads: Heads,
  options: readonly Argument[],
): ReturnType<Kernel['forward']> {
  const { dtype } = heads[0];
  const types = [dtype, 'f32', 'i32', 'i32', null, null, 'i64', 'i64', dtype] as const;
  const results = emitter.emitNative('cuda', op, [...heads.map(tensor), ...options], types);
  return { out: results[0]!, saved: [1, 2, 3, 6, 7].map((i) => results[i]!) };
}

/** Flash attention on NVIDIA GPUs from Ampere on: 16-bit floats, heads of at most 256 channels. */
const flashKernel: Kernel = {
  forward: (context, heads, { causal, scale }) => {
    const options = [noDropout, flag(causal), flag(false), some(float(scale))];
    return fusedForward(context, '_scaled_dot_product_flash_attention', heads, options);
  },
  backward: ({ emitter }, heads, { out, saved }, ct, { causal, scale, queries, keys }) => {
    const [logsumexp, cumulativeQ, cumulativeK, ...dropout] = saved.map(tensor);
    const args = [
      ...[ct, ...heads, out].map(tensor),
      ...[logsumexp!, cumulativeQ!, cumulativeK!],
      whole(queries),
      whole(keys),
      noDropout,
      flag(causal),
      ...dropout,
      some(float(scale)),
    ];
    const op = '_scaled_dot_product_flash_attention_backward';
    return emitter.emitNative('cuda', op, args, heads.map(typeOf)) as unknown as Heads;
  },
};

/** cuDNN's attention on NVIDIA GPUs: 16-bit floats, heads of at most 128 channels. */
const cudnnKernel: Kernel = {
  forward: (context, heads, { causal, scale }) => {
    // No bias; logsumexp, which the gradient needs; nothing for debugging.
    const options = [none, flag(true), noDropout, flag(causal), flag(false), some(float(scale))];
    return fusedForward(context, '_scaled_dot_product_cudnn_attention', heads, options);
  },
  backward: ({ emitter }, heads, { out, saved }, ct, { causal, scale, queries, keys }) => {
    const [logsumexp, cumulativeQ, cumulativeK, ...dropout] = saved.map(tensor);
    const args = [
      ...[ct, ...heads, out].map(tensor),
      logsumexp!,
      ...dropout,
      // Bias.
      undefinedTensor,
      ...[cumulativeQ!, cumulativeK!],
      whole(queries),
      whole(keys),
      noDropout,
      flag(causal),
      some(float(scale)),
    ];
    const op = '_scaled_dot_product_cudnn_attention_backward';
    return emitter.emitNative('cuda', op, args, heads.map(typeOf)) as unknown as Heads;
  },
};

/** Memory-efficient attention on NVIDIA GPUs, in any float type. */
const efficientKernel: Kernel = {
  forward: ({ emitter }, heads, { causal, scale }) => {
    const options = [none, flag(true), noDropout, flag(causal), some(float(scale))];
    const types = [heads[0].dtype, 'f32', 'i64', 'i64'] as const;
    const op = '_scaled_dot_product_efficient_attention';
    const [out, ...saved] = emitter.emitMany(op, [...heads.map(tensor), ...options], types);
    return { out: out!, saved: saved as Value[] };
  },
  backward: ({ emitter }, heads, { out, saved }, ct, { causal, scale }) => {
    const args = [
      ...[ct, ...heads].map(tensor),
      undefinedTensor,
      ...[out, ...saved].map(tensor),
      noDropout,
      flags(true, true, true, false),
      flag(causal),
      some(float(scale)),
    ];
    const op = '_scaled_dot_product_efficient_attention_backward';
    return emitter.emitMany(op, args, [...heads, out].map(typeOf)) as unknown as Heads;
  },
};

/** Finite stand-in for minus infinity: a hidden score. */
const hidden = -1e30;

function times({ emitter }: LoweringContext, a: Value, b: Value | number): Value {
  const factor = typeof b === 'number' ? emitter.constant([b], [], 'f32') : b;
  return emitter.emit('mul', [tensor(a), tensor(factor)], { overload: 'Tensor', dtype: a.dtype });
}

function causalMask(
  { emitter }: LoweringContext,
  { queries, keys }: AttentionSizes,
  like: Value,
): Value {
  const mask = new Array<number>(queries * keys).fill(0);
  for (let i = 0; i < queries; i++) mask.fill(hidden, i * keys + i + 1, (i + 1) * keys);
  return emitter.constant(mask, [queries, keys], like.dtype);
}

function cast({ emitter, codes }: LoweringContext, value: Value, dtype: TorchDType): Value {
  if (value.dtype === dtype) return value;
  const args = [tensor(value), whole(codes.dtypeCodes[dtype]), flag(false), flag(false), none];
  return emitter.emit('to', args, { overload: 'dtype', dtype });
}

/**
 * Products and a softmax. With P = softmax(q·kᵀ·s) and D = rowsum(ct·out): dv = Pᵀ·ct,
 * dS = P·(ct·vᵀ - D), dq = s·dS·k, dk = s·dSᵀ·q (Dao et al. 2022, arXiv:2205.14135, appendix B).
 */
const composedKernel: Kernel = {
  forward: (context, [q, k, v], sizes) => {
    const { emitter } = context;
    // Scores of SD 2.x go beyond the range of f16; other kernels keep them in f32 inside.
    const dtype = q.dtype === 'f16' ? 'f32' : q.dtype;
    const [left, right] = [cast(context, q, dtype), cast(context, k, dtype)];
    const scores = product(emitter, times(context, left, sizes.scale), swapped(emitter, right));
    const shown = sizes.causal
      ? emitter.subtract(scores, causalMask(context, sizes, scores), -1, dtype)
      : scores;
    const args = [tensor(shown), whole(-1), none];
    const p = cast(context, emitter.emit('softmax', args, { overload: 'int', dtype }), q.dtype);
    return { out: product(emitter, p, v), saved: [p] };
  },
  backward: (context, [q, k, v], { saved }, ct, { scale }) => {
    const { emitter, codes } = context;
    const p = saved[0]!;
    const { dtype } = p;
    const dp = product(emitter, ct, swapped(emitter, v));
    const args = [tensor(dp), tensor(p), whole(-1), whole(codes.dtypeCodes[dtype])];
    const ds = times(context, emitter.emit('_softmax_backward_data', args, { dtype }), scale);
    return [
      product(emitter, ds, k),
      product(emitter, swapped(emitter, ds), q),
      product(emitter, swapped(emitter, p), ct),
    ];
  },
};

const typeOf = ({ dtype }: Value) => dtype;

const kernels: { readonly [K in AttentionKernel]: Kernel } = {
  cpu: cpuKernel,
  flash: flashKernel,
  cudnn: cudnnKernel,
  efficient: efficientKernel,
  composed: composedKernel,
};

/** The forward pass of three nodes; asked for again, it is the same calls. */
function attend(
  context: LoweringContext,
  [q, k, v]: readonly [Node, Node, Node],
  attrs: AttentionAttrs,
) {
  const { target } = context;
  const [batch, queries, width] = q.shape as [number, number, number];
  const channels = width / attrs.heads;
  const all: AttentionSizes = { ...attrs, batch, queries, keys: k.shape[1]!, channels };
  const { kernel: name, chunks } = target.attention(all, target.compute);
  if (chunks > 1 && (attrs.causal || queries % chunks !== 0)) {
    throw new Error(`internal: ${queries} queries cannot be ${chunks} chunks`);
  }
  // cuDNN says nowhere that it takes keys without a step from batch to batch.
  const repeated = { chunks, copies: name === 'cudnn' };
  const heads: Heads = [
    splitHeads(context, q, attrs.heads, chunks),
    repeatHeads(context, k, attrs.heads, repeated),
    repeatHeads(context, v, attrs.heads, repeated),
  ];
  const sizes = { ...all, batch: batch * chunks, queries: queries / chunks };
  const kernel = kernels[name];
  return { heads, sizes, kernel, chunks, attended: kernel.forward(context, heads, sizes) };
}

const position = { q: 0, k: 1, v: 2 } as const;

export const attentionRules: LoweringRules<'attention' | 'attentionGrad'> = {
  attention: (context, { inputs, attrs }) =>
    mergeHeads(context, attend(context, inputs, attrs).attended.out, inputs[0].shape),
  // The three gradients of one attention are one call, which is emitted once.
  attentionGrad: (context, { inputs: [q, k, v, , ct], attrs: { wrt, ...attrs } }) => {
    const { heads, sizes, kernel, chunks, attended } = attend(context, [q, k, v], attrs);
    const slope = splitHeads(context, ct, attrs.heads, chunks);
    const gradients = kernel.backward(context, heads, attended, slope, sizes);
    const gradient = gradients[position[wrt]];
    const { shape } = { q, k, v }[wrt];
    // Of q each chunk has its own part.
    if (wrt === 'q') return mergeHeads(context, gradient, shape);
    return sumChunks(context, gradient, shape, chunks);
  },
};
