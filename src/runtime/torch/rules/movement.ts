/** @file Operations that move, repeat, sum or look up elements, in ATen. */

import type { Node, NodeOf } from '../../../graph/ops.ts';
import {
  flag,
  none,
  some,
  type TorchEmitter,
  tensor,
  tensors,
  text,
  type Value,
  whole,
  wholes,
} from '../torch-emitter.ts';
import { product, swapped } from './linear-algebra.ts';
import type { LoweringContext, LoweringRules } from './rule.ts';

/** The kinds that show their input's elements in another shape or order. */
export type ViewKind = 'reshape' | 'transpose' | 'slice' | 'expand';
export type ViewNode = NodeOf<ViewKind>;

const viewKinds: { readonly [K in ViewKind]: true } = {
  reshape: true,
  transpose: true,
  slice: true,
  expand: true,
};

export const isView = (node: Node): node is Node & ViewNode => node.op in viewKinds;

/** The view that `node` is, of another value than its input's: of the same in another type. */
export function viewOf(emitter: TorchEmitter, node: Node & ViewNode, x: Value): Value {
  const { dtype } = x;
  switch (node.op) {
    case 'reshape':
      return emitter.emit('reshape', [tensor(x), wholes(node.attrs.shape)], { dtype });
    case 'transpose':
      return emitter.emit('permute', [tensor(x), wholes(node.attrs.perm)], { dtype });
    case 'expand':
      return emitter.emit('expand', [tensor(x), wholes(node.attrs.shape), flag(false)], { dtype });
    case 'slice': {
      const { starts, ends } = node.attrs;
      return node.inputs[0].shape.reduce((value, size, axis) => {
        const [start, end] = [starts[axis]!, ends[axis]!];
        if (start === 0 && end === size) return value;
        const args = [tensor(value), whole(axis), whole(start), whole(end - start)];
        return emitter.emit('narrow', args, { dtype });
      }, x);
    }
  }
}

const view = ({ emitter, asIs }: LoweringContext, node: ViewNode): Value =>
  viewOf(emitter, node as Node & ViewNode, asIs(node.inputs[0]));

/** Source index of each target index: floor(i·from/to). */
const nearestIndices = (from: number, to: number): number[] =>
  Array.from({ length: to }, (_, i) => Math.floor((i * from) / to));

/** Whether ATen's own indices, rounded in f32, are surely exact. */
const isExact = (small: number, large: number) =>
  large % small === 0 && Number.isInteger(Math.log2(large / small));

function upsample(context: LoweringContext, node: NodeOf<'upsampleNearest'>): Value {
  const { emitter, asIs } = context;
  const [x] = node.inputs;
  const [h, w] = x.shape.slice(2) as [number, number];
  const { height, width } = node.attrs;
  const value = asIs(x);
  const { dtype } = value;
  if (isExact(h, height) && isExact(w, width)) {
    const args = [tensor(value), wholes([height, width]), none, none];
    return emitter.emit('upsample_nearest2d', args, { dtype });
  }
  const pick = (from: Value, axis: number, indices: readonly number[]) => {
    const rows = emitter.constant(indices, [indices.length], 'i64');
    return emitter.emit('index_select', [tensor(from), whole(axis), tensor(rows)], { dtype });
  };
  return pick(pick(value, 2, nearestIndices(h, height)), 3, nearestIndices(w, width));
}

/** The 0/1 matrix [small, large] that has a one where the target takes from the source. */
function nearestMatrix(emitter: TorchEmitter, small: number, large: number, like: Value): Value {
  const matrix = new Array<number>(small * large).fill(0);
  for (const [to, from] of nearestIndices(small, large).entries()) matrix[from * large + to] = 1;
  return emitter.constant(matrix, [small, large], like.dtype);
}

function upsampleGrad(context: LoweringContext, node: NodeOf<'upsampleNearestGrad'>): Value {
  const { emitter, asIs } = context;
  const [ct] = node.inputs;
  const [h, w] = ct.shape.slice(2) as [number, number];
  const { height, width } = node.attrs;
  const value = asIs(ct);
  if (isExact(height, h) && isExact(width, w)) {
    const args = [tensor(value), wholes([h, w]), wholes(node.shape), none, none];
    return emitter.emit('upsample_nearest2d_backward', args, { dtype: value.dtype });
  }
  const columns = swapped(emitter, nearestMatrix(emitter, width, w, value));
  const rows = nearestMatrix(emitter, height, h, value);
  return product(emitter, rows, product(emitter, value, columns));
}

/** No row of a table is left out of its gradient. */
const noPadding = whole(-1);

export const movementRules: LoweringRules<
  | ViewKind
  | 'concat'
  | 'pad'
  | 'sum'
  | 'upsampleNearest'
  | 'upsampleNearestGrad'
  | 'gather'
  | 'gatherGrad'
  | 'barrier'
> = {
  reshape: view,
  transpose: view,
  slice: view,
  expand: view,
  concat: ({ emitter, alike }, { inputs, attrs: { axis } }) => {
    const parts = alike(inputs);
    return emitter.emit('cat', [tensors(parts), whole(axis)], { dtype: parts[0]!.dtype });
  },
  pad: ({ emitter, asIs }, { inputs: [x], attrs: { before, after } }) => {
    const value = asIs(x);
    // Innermost dimension first.
    const sides = x.shape.flatMap((_, i) => [before.at(-1 - i)!, after.at(-1 - i)!]);
    const args = [tensor(value), wholes(sides), text('constant'), none];
    return emitter.emit('pad', args, { dtype: value.dtype });
  },
  sum: ({ emitter, asIs }, { inputs: [x], attrs: { axes } }) => {
    const value = asIs(x);
    // ATen would sum over all dimensions.
    if (axes.length === 0) return value;
    const args = [tensor(value), some(wholes(axes)), flag(true), none];
    return emitter.emit('sum', args, { overload: 'dim_IntList', dtype: value.dtype });
  },
  upsampleNearest: upsample,
  upsampleNearestGrad: upsampleGrad,
  gather: ({ emitter, asIs }, { inputs: [table, ids] }) => {
    const rows = asIs(table);
    const args = [tensor(rows), tensor(asIs(ids)), noPadding, flag(false), flag(false)];
    return emitter.emit('embedding', args, { dtype: rows.dtype });
  },
  gatherGrad: ({ emitter, asIs }, { inputs: [ids, ct], attrs: { rows } }) => {
    const value = asIs(ct);
    const args = [tensor(value), tensor(asIs(ids)), whole(rows), noPadding, flag(false)];
    return emitter.emit('embedding_dense_backward', args, { dtype: value.dtype });
  },
  barrier: ({ emitter, asIs }, { inputs: [x] }) => emitter.alias(asIs(x)),
};
