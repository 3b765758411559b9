/** @file Products of matrices in ATen. */

import type { Node } from '../../../graph/ops.ts';
import { maybe, type TorchEmitter, tensor, type Value, whole } from '../torch-emitter.ts';
import type { LoweringRules } from './rule.ts';

/** A view with the last two dimensions exchanged. */
export function swapped(emitter: TorchEmitter, x: Value): Value {
  const args = [tensor(x), whole(-2), whole(-1)];
  return emitter.emit('transpose', args, { overload: 'int', dtype: x.dtype });
}

/** a·b, of matrices or batches of them. */
export function product(emitter: TorchEmitter, a: Value, b: Value): Value {
  return emitter.emit('matmul', [tensor(a), tensor(b)], { dtype: a.dtype });
}

export const linearAlgebraRules: LoweringRules<'matmul' | 'linear'> = {
  matmul: ({ emitter, asCompute }, { inputs, attrs: { transposeA, transposeB } }) => {
    const [a, b] = inputs.map((x: Node) => asCompute(x)) as [Value, Value];
    return product(
      emitter,
      transposeA ? swapped(emitter, a) : a,
      transposeB ? swapped(emitter, b) : b,
    );
  },
  linear: ({ emitter, asCompute, target }, { inputs: [x, weight, bias] }) =>
    emitter.emit(
      'linear',
      [tensor(asCompute(x)), tensor(asCompute(weight)), maybe(bias && asCompute(bias))],
      { dtype: target.compute },
    ),
};
