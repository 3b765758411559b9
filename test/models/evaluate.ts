/** @file Runs what a test builds, with weights drawn by name. */

import type { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Node } from '../../src/graph/ops.ts';
import { runPasses } from '../../src/graph/passes/run-passes.ts';
import type { Executor, ParameterSource, Values } from '../../src/runtime/executor.ts';
import { createOnnxExecutor } from '../../src/runtime/onnx/onnx-executor.ts';
import { createReferenceExecutor } from '../../src/runtime/reference/reference-executor.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { type Shape, sizeOf } from '../../src/tensor/shape.ts';
import { f32, type Tensor } from '../../src/tensor/tensor.ts';

/** Random weights of about the size that keeps a network's values near 1. */
export function drawWeights(shapes: ReadonlyMap<string, Shape>, seed = 1): ParameterSource {
  return {
    read: (name) => {
      const shape = shapes.get(name);
      if (!shape) throw new Error(`no weight ${name}`);
      const values = new Rng(seed, name).normals(sizeOf(shape));
      const isScale = shape.length === 1 && name.endsWith('.weight');
      const spread = shape.length === 1 ? 0.1 : 1 / Math.sqrt(sizeOf(shape.slice(1)));
      return values.map((value) => (isScale ? 1 : 0) + spread * value);
    },
  };
}

/** Normal values. */
export function draw(shape: Shape, purpose: string): Tensor<'f32'> {
  return f32(shape, new Rng(7, purpose).normals(sizeOf(shape)));
}

/** The values of `outputs`, all floats, on the reference executor. */
export async function evaluate(
  g: GraphBuilder,
  outputs: Readonly<Record<string, Node>>,
  feeds: Values,
  parameters: ParameterSource,
  variables: Readonly<Record<string, Tensor<'f32'>>> = {},
): Promise<Record<string, Float32Array>> {
  const executor = createReferenceExecutor({ parameters, precision: 'f32' });
  return evaluateOn(executor, g, outputs, feeds, variables);
}

/** `evaluate` on ONNX Runtime, for networks of golden sizes, which plain loops take seconds for. */
export async function evaluateFast(
  g: GraphBuilder,
  outputs: Readonly<Record<string, Node>>,
  feeds: Values,
  parameters: ParameterSource,
): Promise<Record<string, Float32Array>> {
  return evaluateOn(createOnnxExecutor({ parameters, threads: 1 }), g, outputs, feeds);
}

async function evaluateOn(
  executor: Executor,
  g: GraphBuilder,
  outputs: Readonly<Record<string, Node>>,
  feeds: Values,
  variables: Readonly<Record<string, Tensor<'f32'>>> = {},
): Promise<Record<string, Float32Array>> {
  for (const [name, value] of Object.entries(variables)) executor.writeVariable(name, value);
  const executable = await executor.compile(runPasses(g.build(outputs), { verify: true }));
  const values = await executable.run(feeds);
  await executor.dispose();
  return Object.fromEntries(
    Object.entries(values).map(([name, { data }]) => [name, data as Float32Array]),
  );
}
