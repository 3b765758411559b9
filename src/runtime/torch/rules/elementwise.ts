/** @file Elementwise operations and activations in ATen. */

import type { Node } from '../../../graph/ops.ts';
import { channelsLastStrides } from '../device-memory.ts';
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
  const args = [tensor(a), tensor(b)];
  return (
    context.writeJoined(node as Node, op, 'out', args, dtype) ??
    context.emitter.emit(op, args, { overload: 'Tensor', dtype })
  );
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
  (context: LoweringContext, node: Pair) => {
    const [x, ct] = context.alike(node.inputs) as [Value, Value];
    const args = [tensor(ct), tensor(x), ...more];
    return (
      context.writeJoined(node as Node, op, 'grad_input', args, x.dtype) ??
      context.emitter.emit(op, args, { dtype: x.dtype })
    );
  };

/** Whether images change between the layouts of convolutions and of norms here. */
const changesLayout = ({ target }: LoweringContext, x: Node) =>
  target.channelsLast && !target.normsTakeChannelsLast && x.shape.length === 4;

/** The activation of an image is what a convolution reads: written in its layout at once. */
const silu: LoweringRules<'silu'>['silu'] = (context, node) => {
  const { emitter, asIs } = context;
  const [x] = node.inputs;
  if (!changesLayout(context, x)) return unary('silu')(context, node);
  const value = asIs(x);
  const out = emitter.allocate(x.shape, value.dtype, channelsLastStrides(x.shape));
  return emitter.write('silu', 'out', [tensor(value)], out);
};

/** The other way round: before the activation was a norm. */
const siluGrad: LoweringRules<'siluGrad'>['siluGrad'] = (context, node) => {
  const { emitter, alike } = context;
  if (!changesLayout(context, node.inputs[0])) return gradient('silu_backward')(context, node);
  const [x, ct] = alike(node.inputs) as [Value, Value];
  const out = emitter.allocate(node.shape, x.dtype);
  return emitter.write('silu_backward', 'grad_input', [tensor(ct), tensor(x)], out);
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
  | 'select'
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
  select: (context, { inputs: [condition, a, b] }) => {
    const { emitter } = context;
    const zero = emitter.constant([0], [], 'f32');
    const sides = [tensor(context.asIs(condition)), tensor(zero)];
    const holds = emitter.emit('gt', sides, { overload: 'Tensor', dtype: 'bool' });
    const [x, y] = context.alike([a, b]) as [Value, Value];
    const args = [holds, x, y].map(tensor);
    return emitter.emit('where', args, { overload: 'self', dtype: x.dtype });
  },
  exp: unary('exp'),
  sqrt: unary('sqrt'),
  sigmoid: unary('sigmoid'),
  silu,
  gelu: unary('gelu', exactly),
  // x·σ(f·x) is silu(f·x)/f, so its slope is that of silu at f·x.
  quickGelu: ({ emitter, asIs }, { inputs: [x] }) => {
    const z = scaled(emitter, asIs(x), quickGeluFactor);
    const y = emitter.emit('silu', [tensor(z)], { dtype: z.dtype });
    return scaled(emitter, y, 1 / quickGeluFactor);
  },
  siluGrad,
  geluGrad: gradient('gelu_backward', exactly),
  quickGeluGrad: (context, { inputs }) => {
    const { emitter } = context;
    const [x, ct] = context.alike(inputs) as [Value, Value];
    const z = scaled(emitter, x, quickGeluFactor);
    return emitter.emit('silu_backward', [tensor(ct), tensor(z)], { dtype: x.dtype });
  },
};
