/** @file Operations that move, repeat, sum or look up elements, in ONNX. */

import type { NodeOf } from '../../../graph/ops.ts';
import type { OnnxEmitter, ValueName } from '../onnx-emitter.ts';
import type { LoweringContext, LoweringRules } from './rule.ts';
import { zeroAfter } from './zero-after.ts';

/** Source index of each target index: floor(i·from/to). */
function nearestIndices(from: number, to: number): number[] {
  return Array.from({ length: to }, (_, i) => Math.floor((i * from) / to));
}

function upsample(
  { emitter, nameOf }: LoweringContext,
  { inputs: [x], attrs: { height, width } }: NodeOf<'upsampleNearest'>,
): ValueName {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  if (height === 2 * h && width === 2 * w) {
    const apart = emitter.emit('Reshape', [nameOf(x), emitter.integers([n * c, h, 1, w, 1])]);
    const wide = emitter.emit('Expand', [apart, emitter.integers([n * c, h, 2, w, 2])]);
    return emitter.emit('Reshape', [wide, emitter.integers([n, c, height, width])]);
  }
  const rows = emitter.emit('Gather', [nameOf(x), emitter.integers(nearestIndices(h, height))], {
    attributes: { axis: 2 },
  });
  return emitter.emit('Gather', [rows, emitter.integers(nearestIndices(w, width))], {
    attributes: { axis: 3 },
  });
}

/** The 0/1 matrix [from, to] that has a one where the target takes from the source. */
function nearestMatrix(emitter: OnnxEmitter, from: number, to: number): ValueName {
  const matrix = new Float32Array(from * to);
  for (const [target, source] of nearestIndices(from, to).entries())
    matrix[source * to + target] = 1;
  return emitter.floats(matrix, [from, to]);
}

function upsampleGrad(
  { emitter, nameOf }: LoweringContext,
  { inputs: [ct], attrs: { height, width } }: NodeOf<'upsampleNearestGrad'>,
): ValueName {
  const [n, c, h, w] = ct.shape as [number, number, number, number];
  if (h === 2 * height && w === 2 * width) {
    const apart = emitter.emit('Reshape', [
      nameOf(ct),
      emitter.integers([n * c, height, 2, width, 2]),
    ]);
    const sums = emitter.emit('ReduceSum', [apart, emitter.integers([2, 4])], {
      attributes: { keepdims: 0 },
    });
    return emitter.emit('Reshape', [sums, emitter.integers([n, c, height, width])]);
  }
  const columns = emitter.emit('Transpose', [nearestMatrix(emitter, width, w)], {
    attributes: { perm: [1, 0] },
  });
  const narrow = emitter.emit('MatMul', [nameOf(ct), columns]);
  return emitter.emit('MatMul', [nearestMatrix(emitter, height, h), narrow]);
}

export const movementRules: LoweringRules<
  | 'reshape'
  | 'transpose'
  | 'concat'
  | 'slice'
  | 'pad'
  | 'expand'
  | 'sum'
  | 'upsampleNearest'
  | 'upsampleNearestGrad'
  | 'gather'
  | 'gatherGrad'
  | 'barrier'
> = {
  reshape: ({ emitter, nameOf }, { inputs: [x], attrs: { shape } }) =>
    emitter.emit('Reshape', [nameOf(x), emitter.integers(shape)]),
  transpose: ({ emitter, nameOf }, { inputs: [x], attrs: { perm } }) =>
    emitter.emit('Transpose', [nameOf(x)], { attributes: { perm } }),
  concat: ({ emitter, nameOf }, { inputs, attrs: { axis } }) =>
    emitter.emit('Concat', inputs.map(nameOf), { attributes: { axis } }),
  slice: ({ emitter, nameOf }, { inputs: [x], attrs: { starts, ends } }) => {
    const axes = x.shape.flatMap((d, i) => (starts[i] === 0 && ends[i] === d ? [] : [i]));
    return emitter.emit('Slice', [
      nameOf(x),
      emitter.integers(axes.map((i) => starts[i]!)),
      emitter.integers(axes.map((i) => ends[i]!)),
      emitter.integers(axes),
    ]);
  },
  pad: ({ emitter, nameOf }, { inputs: [x], attrs: { before, after } }) =>
    emitter.emit('Pad', [nameOf(x), emitter.integers([...before, ...after])]),
  expand: ({ emitter, nameOf }, { inputs: [x], attrs: { shape } }) =>
    emitter.emit('Expand', [nameOf(x), emitter.integers(shape)]),
  sum: ({ emitter, nameOf }, { inputs: [x], attrs: { axes } }) =>
    emitter.emit('ReduceSum', [nameOf(x), emitter.integers(axes)], {
      attributes: { keepdims: 1 },
    }),
  upsampleNearest: upsample,
  upsampleNearestGrad: upsampleGrad,
  gather: ({ emitter, nameOf }, { inputs: [table, ids] }) =>
    emitter.emit('Gather', [nameOf(table), nameOf(ids)], { attributes: { axis: 0 } }),
  gatherGrad: ({ emitter, nameOf }, { inputs: [ids, ct], attrs: { rows } }) => {
    const width = ct.shape.at(-1)!;
    const zeros = emitter.emit('Expand', [emitter.float(0), emitter.integers([rows, width])]);
    const column = emitter.emit('Reshape', [nameOf(ids), emitter.integers([-1, 1])]);
    const indices = emitter.emit('Cast', [column], { attributes: { to: 7 } });
    const updates = emitter.emit('Reshape', [nameOf(ct), emitter.integers([-1, width])]);
    return emitter.emit('ScatterND', [zeros, indices, updates], {
      attributes: { reduction: 'add' },
    });
  },
  barrier: ({ emitter, nameOf }, { inputs: [x, after] }) =>
    emitter.emit('Add', [nameOf(x), zeroAfter(emitter, nameOf(after), after.shape.length === 0)]),
};
