/**
 * @file How tokens lie around attention's kernels: heads apart, and queries in chunks. A gradient's kernel has a
 * block for each batch, head and some keys, and goes through the queries in turn: with few keys most of a
 * GPU would wait. Chunks of the queries attend to the same keys each by itself, as if they were a larger
 * batch, so that there are more blocks; the gradients of keys and values are the sums over the chunks.
 */

import type { Node } from '../../../graph/ops.ts';
import type { Shape } from '../../../tensor/shape.ts';
import { flag, none, some, tensor, type Value, whole, wholes } from '../torch-emitter.ts';
import type { LoweringContext } from './rule.ts';
import { hasUnitStride } from './unit-stride.ts';

function contiguous({ emitter, codes }: LoweringContext, value: Value): Value {
  const args = [tensor(value), whole(codes.memoryFormats.contiguous)];
  return emitter.emit('contiguous', args, { dtype: value.dtype });
}

function reshaped({ emitter }: LoweringContext, value: Value, shape: Shape): Value {
  return emitter.emit('reshape', [tensor(value), wholes(shape)], { dtype: value.dtype });
}

/** [n, s, heads, d] to [n, heads, s, d], or back. */
function permuted({ emitter }: LoweringContext, value: Value): Value {
  const args = [tensor(value), wholes([0, 2, 1, 3])];
  return emitter.emit('permute', args, { dtype: value.dtype });
}

/** The tokens, where a token surely lies element by element: GPUs' kernels want it so. */
function tokensOf(context: LoweringContext, x: Node): Value {
  const value = context.asCompute(x);
  return hasUnitStride(x) ? value : contiguous(context, value);
}

/** [n, s, heads·d] to [n·chunks, heads, s/chunks, d]. */
export function splitHeads(
  context: LoweringContext,
  x: Node,
  heads: number,
  chunks: number,
): Value {
  const [n, s, c] = x.shape as [number, number, number];
  const shape = [n * chunks, s / chunks, heads, c / heads];
  return permuted(context, reshaped(context, tokensOf(context, x), shape));
}

/**
 * The same keys or values for each chunk: [n, s, heads·d] to [n·chunks, heads, s, d].
 * @param copies whether they have to lie in memory so often; else one batch is a view without a step between chunks
 */
export function repeatHeads(
  context: LoweringContext,
  x: Node,
  heads: number,
  { chunks, copies }: { readonly chunks: number; readonly copies: boolean },
): Value {
  if (chunks === 1) return splitHeads(context, x, heads, 1);
  const [n, s, c] = x.shape as [number, number, number];
  const rest = [s, heads, c / heads];
  const single = reshaped(context, tokensOf(context, x), [n, 1, ...rest]);
  const args = [tensor(single), wholes([n, chunks, ...rest]), flag(false)];
  const all = context.emitter.emit('expand', args, { dtype: single.dtype });
  const joined = reshaped(context, all, [n * chunks, ...rest]);
  return permuted(context, copies ? contiguous(context, joined) : joined);
}

/** [n·chunks, heads, s/chunks, d] to [n, s, heads·d]. */
export function mergeHeads(context: LoweringContext, value: Value, shape: Shape): Value {
  return reshaped(context, permuted(context, value), shape);
}

/** The gradient of what chunks had in common: [n·chunks, heads, s, d] to [n, s, heads·d]. */
export function sumChunks(
  context: LoweringContext,
  value: Value,
  shape: Shape,
  chunks: number,
): Value {
  if (chunks === 1) return mergeHeads(context, value, shape);
  const [n, s, c] = shape as [number, number, number];
  const each = reshaped(context, permuted(context, value), [n, chunks, s, c]);
  // In f32 inside, whatever the type is.
  const args = [tensor(each), some(wholes([1])), flag(true), none];
  const { dtype } = value;
  const sum = context.emitter.emit('sum', args, { overload: 'dim_IntList', dtype });
  return reshaped(context, sum, shape);
}
