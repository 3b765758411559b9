/** @file Group and layer norm and their gradients in ONNX, both on the native LayerNormalization. */

import type { Node } from '../../../graph/ops.ts';
import { sizeOf } from '../../../tensor/shape.ts';
import type { OnnxEmitter, ValueName } from '../onnx-emitter.ts';
import { reshaped } from './linear-algebra.ts';
import type { LoweringContext, LoweringRules } from './rule.ts';

interface Normalized {
  /** (x - mean)·rstd, in rows. */
  readonly values: ValueName;
  /** 1/√(variance + epsilon), [rows, 1]. */
  readonly rstd: ValueName;
}

/** Normalises each row of [rows, columns]. */
function normalizeRows(
  emitter: OnnxEmitter,
  rows: ValueName,
  columns: number,
  epsilon: number,
): Normalized {
  const ones = emitter.emit('Expand', [emitter.floats([1], [1]), emitter.integers([columns])]);
  const [values, , rstd] = emitter.emitMany('LayerNormalization', [rows, ones], 3, {
    attributes: { axis: -1, epsilon: { float: epsilon } },
  });
  return { values: values!, rstd: rstd! };
}

interface Grouped {
  readonly n: number;
  readonly channels: number;
  readonly groups: number;
  readonly positions: number;
}

function groupedSizes(x: Node, groups: number): Grouped {
  const [n, channels] = x.shape as [number, number];
  return { n, channels, groups, positions: sizeOf(x.shape) / n / channels };
}

/** x normalised over each group, as [n, c, positions], with the groups' rstd [n·groups, 1]. */
function normalizeGroups(
  { emitter, nameOf }: LoweringContext,
  x: Node,
  { groups, epsilon }: { readonly groups: number; readonly epsilon: number },
): Normalized {
  const { n, channels, positions } = groupedSizes(x, groups);
  const columns = (channels / groups) * positions;
  const rows = emitter.emit('Reshape', [nameOf(x), emitter.integers([n * groups, columns])]);
  const { values, rstd } = normalizeRows(emitter, rows, columns, epsilon);
  return {
    values: emitter.emit('Reshape', [values, emitter.integers([n, channels, positions])]),
    rstd,
  };
}

function perChannel(emitter: OnnxEmitter, value: ValueName, channels: number): ValueName {
  return emitter.emit('Reshape', [value, emitter.integers([channels, 1])]);
}

function sumOver(emitter: OnnxEmitter, value: ValueName, axes: readonly number[]): ValueName {
  return emitter.emit('ReduceSum', [value, emitter.integers(axes)], {
    attributes: { keepdims: 1 },
  });
}

/**
 * dx = rstd·(γ·ct - mean(γ·ct) - x̂·mean(γ·ct·x̂)) over each group. The sums are taken channel by
 * channel first, so that large tensors are passed over only for ct, ct·x̂ and the result.
 */
const groupNormInputGrad: LoweringRules<'groupNormInputGrad'>['groupNormInputGrad'] = (
  context,
  { inputs: [x, scale, ct], attrs },
) => {
  const { emitter, nameOf } = context;
  const { n, channels, groups, positions } = groupedSizes(x, attrs.groups);
  const { values, rstd } = normalizeGroups(context, x, attrs);
  const g = emitter.emit('Reshape', [nameOf(ct), emitter.integers([n, channels, positions])]);
  const gamma = perChannel(emitter, nameOf(scale), channels);
  const groupRows = (value: ValueName) =>
    emitter.emit('Reshape', [value, emitter.integers([n * groups, channels / groups])]);
  const meanOf = (sums: ValueName) => {
    const total = sumOver(emitter, groupRows(emitter.emit('Mul', [sums, gamma])), [1]);
    return emitter.emit('Mul', [total, emitter.float(groups / channels / positions)]);
  };
  const meanG = meanOf(sumOver(emitter, g, [2]));
  const meanGx = meanOf(sumOver(emitter, emitter.emit('Mul', [g, values]), [2]));
  /** [n·groups, 1] to [n, c, 1]. */
  const spread = (value: ValueName) => {
    const wide = emitter.emit('Expand', [value, emitter.integers([n * groups, channels / groups])]);
    return emitter.emit('Reshape', [wide, emitter.integers([n, channels, 1])]);
  };
  const factor = emitter.emit('Mul', [spread(rstd), gamma]);
  const slope = spread(emitter.emit('Mul', [rstd, meanGx]));
  const shift = spread(emitter.emit('Mul', [rstd, meanG]));
  const direct = emitter.emit('Mul', [g, factor]);
  const through = emitter.emit('Add', [emitter.emit('Mul', [values, slope]), shift]);
  const dx = emitter.emit('Sub', [direct, through]);
  return reshaped(emitter, dx, [n, channels, positions], x.shape);
};

export const normRules: LoweringRules<
  | 'groupNorm'
  | 'groupNormInputGrad'
  | 'groupNormScaleGrad'
  | 'layerNorm'
  | 'layerNormInputGrad'
  | 'layerNormScaleGrad'
> = {
  groupNorm: (context, { inputs: [x, scale, bias], attrs }) => {
    const { emitter, nameOf } = context;
    const { n, channels, positions } = groupedSizes(x, attrs.groups);
    const { values } = normalizeGroups(context, x, attrs);
    const scaled = emitter.emit('Mul', [values, perChannel(emitter, nameOf(scale), channels)]);
    const moved = emitter.emit('Add', [scaled, perChannel(emitter, nameOf(bias), channels)]);
    return reshaped(emitter, moved, [n, channels, positions], x.shape);
  },
  groupNormInputGrad,
  groupNormScaleGrad: (context, { inputs: [x, ct], attrs }) => {
    const { emitter, nameOf } = context;
    const { n, channels, positions } = groupedSizes(x, attrs.groups);
    const { values } = normalizeGroups(context, x, attrs);
    const g = emitter.emit('Reshape', [nameOf(ct), emitter.integers([n, channels, positions])]);
    const sums = sumOver(emitter, emitter.emit('Mul', [g, values]), [0, 2]);
    return emitter.emit('Reshape', [sums, emitter.integers([channels])]);
  },
  layerNorm: ({ emitter, nameOf }, { inputs, attrs: { epsilon } }) =>
    emitter.emit('LayerNormalization', inputs.map(nameOf), {
      attributes: { axis: -1, epsilon: { float: epsilon } },
    }),
  layerNormInputGrad: ({ emitter, nameOf }, { inputs: [x, scale, ct], attrs: { epsilon } }) => {
    const columns = x.shape.at(-1)!;
    const { values, rstd } = normalizeRows(emitter, nameOf(x), columns, epsilon);
    const g = emitter.emit('Mul', [nameOf(ct), nameOf(scale)]);
    const mean = (value: ValueName) =>
      emitter.emit('ReduceMean', [value, emitter.integers([-1])], { attributes: { keepdims: 1 } });
    const through = emitter.emit('Mul', [values, mean(emitter.emit('Mul', [g, values]))]);
    const centred = emitter.emit('Sub', [emitter.emit('Sub', [g, mean(g)]), through]);
    return emitter.emit('Mul', [centred, rstd]);
  },
  layerNormScaleGrad: ({ emitter, nameOf }, { inputs: [x, ct], attrs: { epsilon } }) => {
    const columns = x.shape.at(-1)!;
    const { values } = normalizeRows(emitter, nameOf(x), columns, epsilon);
    const lead = x.shape.slice(0, -1).map((_, i) => i);
    const sums = sumOver(emitter, emitter.emit('Mul', [nameOf(ct), values]), lead);
    return emitter.emit('Reshape', [sums, emitter.integers([columns])]);
  },
};
