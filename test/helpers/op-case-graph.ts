/** @file The graph of one case: the operation, a scalar made of its output, and all gradients of that. */

import { grad } from '../../src/graph/autodiff/grad.ts';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Graph, Node } from '../../src/graph/ops.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { type Shape, sizeOf } from '../../src/tensor/shape.ts';
import { f32, type Tensor } from '../../src/tensor/tensor.ts';
import { drawInput, type OpCase } from './op-cases.ts';

export interface CaseGraph {
  /** Outputs `output`, `loss`, and `d0`, `d1`, … for each input of floats. */
  readonly graph: Graph;
  /** Values of the leaves `x0`, `x1`, … and `cotangent`. */
  readonly values: Readonly<Record<string, Tensor<'f32' | 'i32'>>>;
  /** Numbers of the inputs that have gradients. */
  readonly differentiable: readonly number[];
}

/** Sum of everything, as a scalar. */
export function total(g: GraphBuilder, x: Node): Node {
  return g.reshape(
    g.sum(
      x,
      x.shape.map((_, i) => i),
    ),
    [],
  );
}

const normals = (shape: Shape, key: string) => f32(shape, new Rng(11, key).normals(sizeOf(shape)));

/** `leaf` says what the float inputs are: fed each time, or frozen weights. */
export function caseGraph(opCase: OpCase, leaf: 'input' | 'parameter' = 'input'): CaseGraph {
  const g = new GraphBuilder();
  const values: Record<string, Tensor<'f32' | 'i32'>> = {};
  const leaves = opCase.inputs.map((spec, i): Node => {
    const name = `x${i}`;
    const value = drawInput(spec, `${opCase.op} ${opCase.name} ${name}`);
    values[name] = value;
    if (value.dtype === 'f32' && leaf === 'parameter') return g.parameter(name, spec.shape);
    return g.input(name, spec.shape, value.dtype);
  });
  const output = opCase.build(g, ...leaves);
  const cotangent = normals(output.shape, `${opCase.op} ${opCase.name} cotangent`);
  const loss = total(g, g.mul(output, g.input('cotangent', output.shape)));
  const differentiable = leaves.flatMap(({ dtype }, i) => (dtype === 'f32' ? [i] : []));
  const gradients = grad(
    g,
    loss,
    differentiable.map((i) => leaves[i]!),
  );
  const outputs: Record<string, Node> = { output, loss };
  for (const [position, i] of differentiable.entries()) {
    const gradient = gradients[position];
    if (!gradient) throw new Error(`${opCase.op} ${opCase.name}: no gradient of input ${i}`);
    outputs[`d${i}`] = gradient;
  }
  return { graph: g.build(outputs), values: { ...values, cotangent }, differentiable };
}
