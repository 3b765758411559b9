/** @file Products of matrices in ATen. */

import type { Node } from '../../../graph/ops.ts';
import type { FusedProduct } from '../../../graph/passes/find-fused-products.ts';
import { type Shape, sizeOf } from '../../../tensor/shape.ts';
import { maybe, type TorchEmitter, tensor, type Value, whole, wholes } from '../torch-emitter.ts';
import type { LoweringContext, LoweringRules } from './rule.ts';

/** A view with the last two dimensions exchanged. */
export function swapped(emitter: TorchEmitter, x: Value): Value {
  const args = [tensor(x), whole(-2), whole(-1)];
  return emitter.emit('transpose', args, { overload: 'int', dtype: x.dtype });
}

/** a·b, of matrices or batches of them. */
export function product(emitter: TorchEmitter, a: Value, b: Value): Value {
  return emitter.emit('matmul', [tensor(a), tensor(b)], { dtype: a.dtype });
}

function reshaped(emitter: TorchEmitter, x: Value, from: Shape, to: Shape): Value {
  if (`${from}` === `${to}`) return x;
  return emitter.emit('reshape', [tensor(x), wholes(to)], { dtype: x.dtype });
}

/** [.., c] as a matrix [rows, c]. */
export const matrixShape = ({ shape }: Node): readonly [rows: number, columns: number] => {
  const columns = shape.at(-1)!;
  return [sizeOf(shape) / columns, columns];
};

/** rest + product, where the rest lies. */
export function accumulated(
  { emitter, asCompute }: LoweringContext,
  { rest, product: node }: FusedProduct,
): Value {
  const [x, y] = node.inputs;
  const isLinear = node.op === 'linear';
  const transposes = isLinear ? { transposeA: false, transposeB: true } : node.attrs;
  const batched = node.shape.length === 3 && !isLinear;
  const shape = batched ? rest.shape : matrixShape(node as Node);
  const a = batched ? asCompute(x) : reshaped(emitter, asCompute(x), x.shape, matrixShape(x));
  const b = asCompute(y);
  const sum = emitter.accumulate(
    reshaped(emitter, asCompute(rest), rest.shape, shape),
    transposes.transposeA ? swapped(emitter, a) : a,
    transposes.transposeB ? swapped(emitter, b) : b,
    { batched },
  );
  return reshaped(emitter, sum, shape, rest.shape);
}

export const linearAlgebraRules: LoweringRules<'matmul' | 'linear'> = {
  matmul: ({ emitter, asCompute, orderOf, writeJoined }, node) => {
    const { transposeA, transposeB } = node.attrs;
    const [x, y] = node.inputs.map((input: Node) => asCompute(input)) as [Value, Value];
    const a = transposeA ? swapped(emitter, x) : x;
    const b = transposeB ? swapped(emitter, y) : y;
    const args = [tensor(a), tensor(b)];
    const op = node.shape.length === 2 ? 'mm' : 'bmm';
    const joined = writeJoined(node as Node, op, 'out', args, a.dtype);
    if (joined) return joined;
    const strides = orderOf(node as Node);
    if (!strides) return product(emitter, a, b);
    const out = emitter.allocate(node.shape, a.dtype, strides);
    return emitter.write('bmm', 'out', args, out);
  },
  linear: ({ emitter, asCompute, target }, { inputs: [x, weight, bias] }) =>
    emitter.emit(
      'linear',
      [tensor(asCompute(x)), tensor(asCompute(weight)), maybe(bias && asCompute(bias))],
      { dtype: target.compute },
    ),
};
