/**
 * @file Products of matrices in ONNX: Gemm for two dimensions, FusedMatMul for batches, or MatMul where
 * the provider has no FusedMatMul.
 */

import type { Node, NodeOf } from '../../../graph/ops.ts';
import type { Shape } from '../../../tensor/shape.ts';
import type { OnnxEmitter, ValueName } from '../onnx-emitter.ts';
import type { LoweringContext, LoweringRules } from './rule.ts';

/** A value with another shape; no operation where it has it already. */
export function reshaped(
  emitter: OnnxEmitter,
  value: ValueName,
  from: Shape,
  to: Shape,
): ValueName {
  return `${from}` === `${to}` ? value : emitter.emit('Reshape', [value, emitter.integers(to)]);
}

/** [.., m, n] to [.., n, m]. */
function turned(emitter: OnnxEmitter, value: ValueName, rank: number): ValueName {
  const perm = Array.from({ length: rank }, (_, i) => i);
  perm.splice(-2, 2, rank - 1, rank - 2);
  return emitter.emit('Transpose', [value], { attributes: { perm } });
}

/**
 * Batched a·b with either side transposed first, times `alpha`.
 * @param rank of both
 */
export function batchedProduct(
  emitter: OnnxEmitter,
  a: ValueName,
  b: ValueName,
  rank: number,
  { transposeA = false, transposeB = false, alpha = 1 } = {},
): ValueName {
  if (!transposeA && !transposeB && alpha === 1) return emitter.emit('MatMul', [a, b]);
  if (!emitter.fusesProducts) {
    const left = transposeA ? turned(emitter, a, rank) : a;
    const right = transposeB ? turned(emitter, b, rank) : b;
    const product = emitter.emit('MatMul', [left, right]);
    return alpha === 1 ? product : emitter.emit('Mul', [product, emitter.float(alpha)]);
  }
  return emitter.emit('FusedMatMul', [a, b], {
    attributes: {
      transA: Number(transposeA),
      transB: Number(transposeB),
      alpha: { float: alpha },
    },
    domain: 'com.microsoft',
  });
}

function matrixShape(x: Node): Shape {
  const columns = x.shape.at(-1)!;
  return [x.shape.slice(0, -1).reduce((n, d) => n * d, 1), columns];
}

/** A linear layer or a product of two matrices as one Gemm, plus `rest` where given. */
export function gemmOf(
  { emitter, nameOf }: LoweringContext,
  node: NodeOf<'linear'> | NodeOf<'matmul'>,
  rest?: Node,
): ValueName {
  const [a, b, bias] = node.inputs;
  const [transA, transB] =
    node.op === 'linear' ? [0, 1] : [Number(node.attrs.transposeA), Number(node.attrs.transposeB)];
  const matrix = matrixShape(node as Node);
  const inputs = [reshaped(emitter, nameOf(a), a.shape, matrixShape(a)), nameOf(b)];
  if (rest) inputs.push(reshaped(emitter, nameOf(rest), rest.shape, matrix));
  else if (bias) inputs.push(nameOf(bias));
  const product = emitter.emit('Gemm', inputs, { attributes: { transA, transB } });
  return reshaped(emitter, product, matrix, rest ? rest.shape : node.shape);
}

export const linearAlgebraRules: LoweringRules<'matmul' | 'linear'> = {
  matmul: (context, node) => {
    if (node.shape.length === 2) return gemmOf(context, node);
    const { emitter, nameOf } = context;
    const [a, b] = node.inputs;
    return batchedProduct(emitter, nameOf(a), nameOf(b), node.shape.length, node.attrs);
  },
  linear: (context, node) => gemmOf(context, node),
};
