/** @file Operations on single elements, with numpy's broadcasting where there are two. */

import type { NodeOf } from '../../graph/ops.ts';
import { sameShape } from '../../tensor/shape.ts';
import { erfc } from './error-function.ts';
import type { Elements, Kernels } from './kernel.ts';
import { broadcastStrides, forEachRow } from './strided.ts';

type BinaryKind = 'add' | 'sub' | 'mul' | 'div' | 'siluGrad' | 'geluGrad' | 'quickGeluGrad';
type UnaryKind = 'exp' | 'sqrt' | 'sigmoid' | 'silu' | 'gelu' | 'quickGelu';

function unary(f: (x: number) => number) {
  return (_: unknown, [x]: readonly [Elements], out: Elements): void => {
    for (let i = 0; i < out.length; i++) out[i] = f(x[i]!);
  };
}

function binary(f: (a: number, b: number) => number) {
  return (
    { shape, inputs: [left, right] }: Pick<NodeOf<BinaryKind>, 'shape' | 'inputs'>,
    [a, b]: readonly [Elements, Elements],
    out: Elements,
  ): void => {
    if (sameShape(left.shape, right.shape)) {
      for (let i = 0; i < out.length; i++) out[i] = f(a[i]!, b[i]!);
      return;
    }
    const stridesA = broadcastStrides(left.shape, shape);
    const stridesB = broadcastStrides(right.shape, shape);
    const width = shape.at(-1) ?? 1;
    const stepA = stridesA.at(-1) ?? 0;
    const stepB = stridesB.at(-1) ?? 0;
    forEachRow(shape, stridesA, stridesB, (startA, startB, start) => {
      for (let i = 0; i < width; i++) {
        out[start + i] = f(a[startA + i * stepA]!, b[startB + i * stepB]!);
      }
    });
  };
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
/** Φ, the normal distribution function, and φ, its density. */
const normalBelow = (x: number) => 0.5 * erfc(-x * Math.SQRT1_2);
const normalDensity = (x: number) => Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);

const first = binary((a) => a);
const second = binary((_, b) => b);

export const elementwiseKernels: Kernels<UnaryKind | BinaryKind | 'select'> = {
  select: ({ shape, inputs: [, a, b] }, [condition, x, y], out) => {
    const taken = condition[0]! > 0 ? first : second;
    taken({ shape, inputs: [a, b] }, [x, y], out);
  },
  add: binary((a, b) => a + b),
  sub: binary((a, b) => a - b),
  mul: binary((a, b) => a * b),
  div: binary((a, b) => a / b),
  exp: unary(Math.exp),
  sqrt: unary(Math.sqrt),
  sigmoid: unary(sigmoid),
  silu: unary((x) => x * sigmoid(x)),
  gelu: unary((x) => x * normalBelow(x)),
  quickGelu: unary((x) => x * sigmoid(1.702 * x)),
  siluGrad: binary((x, ct) => {
    const s = sigmoid(x);
    return ct * (s + x * s * (1 - s));
  }),
  geluGrad: binary((x, ct) => ct * (normalBelow(x) + x * normalDensity(x))),
  quickGeluGrad: binary((x, ct) => {
    const s = sigmoid(1.702 * x);
    return ct * (s + 1.702 * x * s * (1 - s));
  }),
};
