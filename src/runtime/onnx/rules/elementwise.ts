/** @file Elementwise operations and activations in ONNX. */

import type { Node } from '../../../graph/ops.ts';
import type { OnnxEmitter, ValueName } from '../onnx-emitter.ts';
import { gemmOf } from './linear-algebra.ts';
import type { LoweringContext, LoweringRules } from './rule.ts';

/** The factor of CLIP's quick GELU. */
const quickGeluFactor = 1.702;

const binary =
  (opType: string) =>
  ({ emitter, nameOf }: LoweringContext, { inputs: [a, b] }: { inputs: readonly [Node, Node] }) =>
    emitter.emit(opType, [nameOf(a), nameOf(b)]);

const unary =
  (opType: string, domain = '') =>
  ({ emitter, nameOf }: LoweringContext, { inputs: [x] }: { inputs: readonly [Node] }) =>
    emitter.emit(opType, [nameOf(x)], { domain });

function quickGelu(emitter: OnnxEmitter, x: ValueName, alpha: number): ValueName {
  return emitter.emit('QuickGelu', [x], {
    attributes: { alpha: { float: alpha } },
    domain: 'com.microsoft',
  });
}

/** ct·(s + z·s·(1 - s)) for z = factor·x and s = σ(z). */
function quickGeluGrad(
  emitter: OnnxEmitter,
  x: ValueName,
  ct: ValueName,
  factor: number,
): ValueName {
  const z = factor === 1 ? x : emitter.emit('Mul', [x, emitter.float(factor)]);
  const s = emitter.emit('Sigmoid', [z]);
  const rest = emitter.emit('Sub', [emitter.float(1), s]);
  const slope = emitter.emit('Add', [emitter.emit('Mul', [z, rest]), emitter.float(1)]);
  return emitter.emit('Mul', [ct, emitter.emit('Mul', [s, slope])]);
}

/** ct·(Φ(x) + x·φ(x)). */
function geluGrad(emitter: OnnxEmitter, x: ValueName, ct: ValueName): ValueName {
  const erf = emitter.emit('Erf', [emitter.emit('Mul', [x, emitter.float(Math.SQRT1_2)])]);
  const half = emitter.emit('Mul', [erf, emitter.float(0.5)]);
  const distribution = emitter.emit('Add', [half, emitter.float(0.5)]);
  const square = emitter.emit('Mul', [x, x]);
  const exponent = emitter.emit('Mul', [square, emitter.float(-0.5)]);
  const bell = emitter.emit('Mul', [
    emitter.emit('Exp', [exponent]),
    emitter.float(1 / Math.sqrt(2 * Math.PI)),
  ]);
  const slope = emitter.emit('Add', [distribution, emitter.emit('Mul', [x, bell])]);
  return emitter.emit('Mul', [ct, slope]);
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
    return fused
      ? gemmOf(context, fused.product, fused.rest)
      : context.emitter.emit('Add', node.inputs.map(context.nameOf));
  },
  sub: binary('Sub'),
  mul: binary('Mul'),
  div: binary('Div'),
  select: ({ emitter, nameOf }, { inputs: [condition, a, b] }) => {
    const holds = emitter.emit('Greater', [nameOf(condition), emitter.float(0)]);
    return emitter.emit('Where', [holds, nameOf(a), nameOf(b)]);
  },
  exp: unary('Exp'),
  sqrt: unary('Sqrt'),
  sigmoid: unary('Sigmoid'),
  silu: ({ emitter, nameOf }, { inputs: [x] }) => quickGelu(emitter, nameOf(x), 1),
  gelu: unary('Gelu'),
  quickGelu: ({ emitter, nameOf }, { inputs: [x] }) =>
    quickGelu(emitter, nameOf(x), quickGeluFactor),
  siluGrad: ({ emitter, nameOf }, { inputs: [x, ct] }) =>
    quickGeluGrad(emitter, nameOf(x), nameOf(ct), 1),
  geluGrad: ({ emitter, nameOf }, { inputs: [x, ct] }) => geluGrad(emitter, nameOf(x), nameOf(ct)),
  quickGeluGrad: ({ emitter, nameOf }, { inputs: [x, ct] }) =>
    quickGeluGrad(emitter, nameOf(x), nameOf(ct), quickGeluFactor),
};
