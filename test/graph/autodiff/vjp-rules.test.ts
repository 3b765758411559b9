/** @file Every derivative against finite differences in f64. */

import { describe, expect, test } from 'vitest';
import { vjpRules } from '../../../src/graph/autodiff/vjp-rules.ts';
import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import type { OpKind } from '../../../src/graph/ops.ts';
import type { Values } from '../../../src/runtime/executor.ts';
import { createReferenceExecutor } from '../../../src/runtime/reference/reference-executor.ts';
import { Rng } from '../../../src/tensor/rng.ts';
import { noParameters } from '../../helpers/executors.ts';
import { directionalDerivative } from '../../helpers/finite-differences.ts';
import { caseGraph } from '../../helpers/op-case-graph.ts';
import { opCases } from '../../helpers/op-cases.ts';

const executor = createReferenceExecutor({ parameters: noParameters, precision: 'f64' });
const kinds = Object.keys(vjpRules) as OpKind[];

/** The kinds that are derivatives themselves and refuse to be differentiated. */
const withoutDerivative = new Set(
  kinds.filter((kind) => {
    try {
      (vjpRules[kind] as (g: GraphBuilder, node: object) => unknown)(new GraphBuilder(), {
        op: kind,
      });
      return false;
    } catch (error) {
      return (error as Error).message.includes('has no derivative');
    }
  }),
);
const leaves: readonly OpKind[] = ['input', 'parameter', 'variable', 'constant'];

test('every kind with a derivative has a case', () => {
  const tested = new Set(opCases.map(({ op }) => op));
  const missing = kinds.filter(
    (kind) => !tested.has(kind) && !withoutDerivative.has(kind) && !leaves.includes(kind),
  );
  expect(missing).toEqual([]);
});

test('every kind without one is reached by the gradients of some case', () => {
  const reached = new Set(
    opCases.flatMap((opCase) => caseGraph(opCase).graph.nodes.map(({ op }) => op)),
  );
  expect([...withoutDerivative].filter((kind) => !reached.has(kind))).toEqual([]);
  expect(withoutDerivative).toContain('attentionGrad');
});

describe.each(opCases)('$op: $name', (opCase) => {
  const { graph, values, differentiable } = caseGraph(opCase);

  test.each(differentiable)('input %i', async (i) => {
    const executable = await executor.compile(graph);
    const name = `x${i}`;
    const { shape, data } = values[name]!;
    const lossAt = async (x: Float64Array) => {
      const moved: Values = { ...values, [name]: { dtype: 'f64', shape, data: x } };
      const { loss } = await executable.run(moved);
      return loss!.data[0] as number;
    };
    const gradient = (await executable.run(values))[`d${i}`]!;
    expect(gradient.shape).toEqual(shape);
    const direction = new Rng(3, `direction ${opCase.op} ${opCase.name} ${name}`).normals(
      data.length,
    );
    let product = 0;
    let squares = 0;
    for (const [j, value] of (gradient.data as Float64Array).entries()) {
      product += value * direction[j]!;
      squares += value * value;
    }
    const difference = await directionalDerivative(lossAt, data, direction);
    // Along a direction of normal values the derivative is about as large as the gradient is long;
    // measured so, a direction that happens to be nearly flat does not blow the error up.
    expect(Math.abs(difference - product)).toBeLessThanOrEqual(1e-6 * Math.sqrt(squares));
  });
});
