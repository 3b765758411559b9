/** @file Elementwise operations and activations in ATen. */

import type { Node } from '../../../graph/ops.ts';
import { type Argument, type TorchEmitter, tensor, text, type Value } from '../torch-emitter.ts';
import { accumulated } from './linear-algebra.ts';
import type { LoweringContext, LoweringRules } from './rule.ts';

/** The factor of CLIP's quick GELU. */
const quickGeluFactor = 1.702;

type Pair = { readonly inputs: readonly [Node, Node] };
type Single = { readonly inputs: readonly [Node] };

/** GELU with erf, not with tanh. */
const exactly: Argument = text('none');

/** Two values of one type; the type of what an operation on both gives. */
function pair(context: LoweringContext, { inputs: [a, b] }: Pair): [Value, Value, Value['dtype']] {
  const [left, right] = context.alike([a, b]) as [Value, Value];
  // A scalar takes the other's type.
  return [left, right, a.shape.length === 0 ? right.dtype : left.dtype];
}

const binary = (op: string) => (context: LoweringContext, node: Pair) => {
  const [a, b, dtype] = pair(context, node);
  return context.emitter.emit(op, [tensor(a), tensor(b)], { overload: 'Tensor', dtype });
};

/** a - alpha·b. */
const difference = (alpha: number) => (context: LoweringContext, node: Pair) => {
  const [a, b, dtype] = pair(context, node);
  return context.emitter.subtract(a, b, alpha, dtype);
};

const unary =
  (op: string, ...more: Argument[]) =>
  ({ emitter, asIs }: LoweringContext, { inputs: [x] }: Single) => {
    const value = asIs(x);
    return emitter.emit(op, [tensor(value), ...more], { dtype: value.dtype });
  };

/** PyTorch's gradients take the cotangent first. */
const gradient =
  (op: string, ...more: Argument[]) =>
  (context: LoweringContext, { inputs }: Pair) => {
    const [x, ct] = context.alike(inputs) as [Value, Value];
    return context.emitter.emit(op, [tensor(ct), tensor(x), ...more], { dtype: x.dtype });
  };

function scaled(emitter: TorchEmitter, x: Value, factor: number): Value {
  const scalar = emitter.constant([factor], [], 'f32');
  return emitter.emit('mul', [tensor(x), tensor(scalar)], { overload: 'Tensor', dtype: x.dtype });
}

export const elementwiseRules: LoweringRules<
  | 'add'
  | 'sub'
  | 'mul'
  | 'div'
  | 'exp'
  | 'sqrt'
  | 'sigmoid'
  | 'silu'
  | 'gelu'
  | 'quickGelu'
  | 'siluGrad'
  | 'geluGrad'
  | 'quickGeluGrad'
> = {
  add: (context, node) => {
    const fused = context.fusedProduct(node as Node);
    if (fused) return accumulated(context, fused);
    return difference(-1)(context, node);
  },
  sub: difference(1),
  mul: binary('mul'),
  div: binary('div'),
  exp: unary('exp'),
  sqrt: unary('sqrt'),
  sigmoid: unary('sigmoid'),
  silu: unary('silu'),
  gelu: unary('gelu', exactly),
  // x·σ(f·x) is silu(f·x)/f, so its slope is that of silu at f·x.
  quickGelu: ({ emitter, asIs }, { inputs: [x] }) => {
    const z = scaled(emitter, asIs(x), quickGeluFactor);
    const y = emitter.emit('silu', [tensor(z)], { dtype: z.dtype });
    return scaled(emitter, y, 1 / quickGeluFactor);
  },
  siluGrad: gradient('silu_backward'),
  geluGrad: gradient('gelu_backward', exactly),
  quickGeluGrad: (context, { inputs }) => {
    const { emitter } = context;
    const [x, ct] = context.alike(inputs) as [Value, Value];
    const z = scaled(emitter, x, quickGeluFactor);
    return emitter.emit('silu_backward', [tensor(ct), tensor(z)], { dtype: x.dtype });
  },
};
