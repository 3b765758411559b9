/** @file Every operation and all its gradients, on every executor, against the reference in f64. */

import { afterAll, describe, expect, test } from 'vitest';
import { createReferenceExecutor } from '../../src/runtime/reference/reference-executor.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { executors, noParameters, parametersFrom } from '../helpers/executors.ts';
import { caseGraph } from '../helpers/op-case-graph.ts';
import { opCases } from '../helpers/op-cases.ts';

const exact = createReferenceExecutor({ parameters: noParameters, precision: 'f64' });
const expectedByCase = new Map<string, Promise<Record<string, Tensor>>>();

/** The case's outputs in f64, computed once for all executors. */
function expected(index: number): Promise<Record<string, Tensor>> {
  const opCase = opCases[index]!;
  const key = `${opCase.op} ${opCase.name}`;
  const known = expectedByCase.get(key);
  if (known) return known;
  const { graph, values } = caseGraph(opCase);
  const outputs = exact.compile(graph).then((executable) => executable.run(values));
  expectedByCase.set(key, outputs);
  return outputs;
}

const max = (values: Iterable<number>) => {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
};

describe.each(executors)('$name', ({ create, tolerance }) => {
  const fed = create(noParameters);
  afterAll(() => fed.dispose());

  const compare = (actual: Record<string, Tensor>, wanted: Record<string, Tensor>) => {
    expect(Object.keys(actual).sort()).toEqual(Object.keys(wanted).sort());
    for (const [name, { shape, data }] of Object.entries(wanted)) {
      if (name === 'loss') continue;
      const numbers = data as Float64Array;
      expect(actual[name]!.shape, name).toEqual(shape);
      expect(actual[name]!.data, name).toBeAllClose(numbers, {
        rtol: 0,
        atol: tolerance * max(numbers),
      });
    }
  };

  test.each(opCases.map((opCase, index) => ({ ...opCase, index })))('$op: $name', async (it) => {
    const { graph, values } = caseGraph(it);
    const executable = await fed.compile(graph);
    compare(await executable.run(values), await expected(it.index));
    await executable.dispose();
  });

  const withWeights = opCases
    .map((opCase, index) => ({ ...opCase, index }))
    .filter(({ op }) => ['linear', 'conv2d', 'groupNorm', 'layerNorm', 'gather'].includes(op));

  test.each(withWeights)('$op with parameters: $name', async (it) => {
    const { graph, values } = caseGraph(it, 'parameter');
    const executor = create(parametersFrom(values));
    const executable = await executor.compile(graph);
    const feeds = Object.fromEntries(
      Object.entries(values).filter(([name, { dtype }]) => name === 'cotangent' || dtype === 'i32'),
    );
    compare(await executable.run(feeds), await expected(it.index));
    await executor.dispose();
  });
});
