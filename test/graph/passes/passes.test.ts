/** @file Each pass keeps all values, and does what it is for. */

import { describe, expect, test } from 'vitest';
import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import type { Graph, Node } from '../../../src/graph/ops.ts';
import { eliminateCommonSubexpressions } from '../../../src/graph/passes/eliminate-common-subexpressions.ts';
import { eliminateDeadCode } from '../../../src/graph/passes/eliminate-dead-code.ts';
import { foldConstants } from '../../../src/graph/passes/fold-constants.ts';
import { foldIdentities } from '../../../src/graph/passes/fold-identities.ts';
import { joinPaddedSums } from '../../../src/graph/passes/join-padded-sums.ts';
import { mergeSlices } from '../../../src/graph/passes/merge-slices.ts';
import { runPasses } from '../../../src/graph/passes/run-passes.ts';
import { printGraph } from '../../../src/graph/print-graph.ts';
import { verifyGraph } from '../../../src/graph/verify-graph.ts';
import { createReferenceExecutor } from '../../../src/runtime/reference/reference-executor.ts';
import { noParameters } from '../../helpers/executors.ts';
import { type RandomGraph, randomGraph } from '../../helpers/random-graph.ts';

const executor = createReferenceExecutor({ parameters: noParameters, precision: 'f64' });

async function run(graph: Graph, feeds: RandomGraph['feeds']) {
  return (await executor.compile(graph)).run(feeds);
}

describe.each([
  ['foldConstants', foldConstants],
  ['foldIdentities', foldIdentities],
  ['joinPaddedSums', joinPaddedSums],
  ['mergeSlices', mergeSlices],
  ['eliminateCommonSubexpressions', eliminateCommonSubexpressions],
  ['eliminateDeadCode', eliminateDeadCode],
  ['runPasses', (graph: Graph) => runPasses(graph, { verify: true })],
])('%s', (_, pass) => {
  test.each(Array.from({ length: 30 }, (_, seed) => seed))('random graph %i', async (seed) => {
    const { graph, feeds } = randomGraph(seed);
    const before = await run(graph, feeds);
    const after = pass(graph);
    verifyGraph(after);
    // A leaf that is no longer read may stay; it may also be gone, and is then not fed.
    const inputs = after.nodes.flatMap((node) => (node.op === 'input' ? [node.attrs.name] : []));
    const values = await run(after, Object.fromEntries(inputs.map((key) => [key, feeds[key]!])));
    expect(Object.keys(values)).toEqual(Object.keys(before));
    for (const [name, { shape, data }] of Object.entries(before)) {
      expect(values[name]!.shape, name).toEqual(shape);
      // Folded arithmetic may round in another order.
      expect(values[name]!.data, name).toBeAllClose(data as Float64Array, {
        rtol: 1e-12,
        atol: 1e-12,
      });
    }
  });
});

/** What is left of one value after a pass. */
function printedAfter(
  pass: (graph: Graph) => Graph,
  build: (g: GraphBuilder, x: Node) => Node,
): string {
  const g = new GraphBuilder();
  return printGraph(eliminateDeadCode(pass(g.build({ y: build(g, g.input('x', [2, 3])) }))));
}

const unchanged = '%0: f32[2,3] = input name=x\noutput y = %0';

describe('foldConstants', () => {
  test.each<[string, (g: GraphBuilder) => Node, string]>([
    ['sums', (g) => g.add(g.constant(2, [2]), g.constant(3)), 'f32[2] = constant values=[5]'],
    ['quotients', (g) => g.div(g.constant(1), g.constant(4)), 'f32[] = constant values=[0.25]'],
    ['expand', (g) => g.expand(g.constant(7), [2, 2]), 'f32[2,2] = constant values=[7]'],
    ['slice', (g) => g.sliceAxis(g.constant(7, [4]), 0, 1, 3), 'f32[2] = constant values=[7]'],
    ['the sum of all', (g) => g.sum(g.constant(2, [3, 4]), [0]), 'f32[1,4] = constant values=[6]'],
    [
      'chains',
      (g) => g.mul(g.reshape(g.sub(g.constant(1, [4]), g.constant(3)), [2, 2]), g.constant(-1)),
      'f32[2,2] = constant values=[2]',
    ],
  ])('%s', (_, build, expected) => {
    expect(printedAfter(foldConstants, build)).toBe(`%0: ${expected}\noutput y = %0`);
  });

  test('values that differ by element stay', () => {
    const text = printedAfter(foldConstants, (g) => g.add(g.constant([1, 2], [2]), g.constant(1)));
    expect(text).toContain('add');
  });
});

describe('foldIdentities', () => {
  test.each<[string, (g: GraphBuilder, x: Node) => Node]>([
    ['times one', (g, x) => g.mul(g.constant(1), x)],
    ['divided by one', (g, x) => g.div(x, g.constant(1, [3]))],
    ['plus zero', (g, x) => g.add(g.constant([0, 0, 0], [3]), x)],
    ['reshape to the same shape', (g, x) => g.reshape(g.reshape(x, [6]), [2, 3])],
    ['slice of everything', (g, x) => g.sliceAxis(x, 1, 0, 3)],
    ['pad by nothing', (g, x) => g.pad(x, [0, 0], [0, 0])],
    ['expand to the same shape', (g, x) => g.expand(x, [2, 3])],
    ['transpose to the same order', (g, x) => g.transpose(x, [0, 1])],
    ['transpose and back', (g, x) => g.transpose(g.transpose(x, [1, 0]), [1, 0])],
    ['sum over a size of one', (g, x) => g.reshape(g.sum(g.reshape(x, [2, 1, 3]), [1]), [2, 3])],
  ])('%s', (_, build) => {
    expect(printedAfter(foldIdentities, build)).toBe(unchanged);
  });

  test.each<[string, (g: GraphBuilder, x: Node) => Node]>([
    ['times one of a larger shape', (g, x) => g.mul(x, g.constant(1, [2, 2, 3]))],
    ['one of a larger shape, times it', (g, x) => g.mul(g.constant(1, [2, 2, 3]), x)],
    ['plus zero of a larger shape', (g, x) => g.add(x, g.constant(0, [1, 2, 3]))],
    ['zero of a larger shape plus it', (g, x) => g.add(g.constant(0, [1, 2, 3]), x)],
    ['divided by one of a larger shape', (g, x) => g.div(x, g.constant(1, [1, 2, 3]))],
    ['one divided by it', (g, x) => g.div(g.constant(1), x)],
    ['minus one', (g, x) => g.sub(x, g.constant(1))],
    ['times almost one', (g, x) => g.mul(x, g.constant([1, 1, 2], [3]))],
  ])('not: %s', (_, build) => {
    expect(printedAfter(foldIdentities, build)).not.toBe(unchanged);
  });

  test('a chain of reshapes becomes one', () => {
    const text = printedAfter(foldIdentities, (g, x) => g.reshape(g.reshape(x, [6]), [3, 2]));
    expect(text).toBe(
      '%0: f32[2,3] = input name=x\n%1: f32[3,2] = reshape %0 shape=[3,2]\noutput y = %1',
    );
  });
});

test('a chain of transpositions becomes one', () => {
  const g = new GraphBuilder();
  const x = g.input('x', [2, 3, 4]);
  const y = g.transpose(g.transpose(x, [1, 2, 0]), [2, 0, 1]);
  const z = g.transpose(g.transpose(x, [1, 2, 0]), [1, 2, 0]);
  const folded = foldIdentities(g.build({ y, z }));
  expect(folded.outputs.get('y')).toBe(x);
  const { inputs, attrs } = folded.outputs.get('z')!;
  expect([inputs, attrs]).toEqual([[x], { perm: [2, 0, 1] }]);
});

describe('joinPaddedSums', () => {
  /** Columns [start, end) of a value of 6 columns, in zeros. */
  const part = (g: GraphBuilder, name: string, start: number, end: number) =>
    g.pad(g.input(name, [2, end - start]), [0, start], [0, 6 - end]);
  const joined = (build: (g: GraphBuilder) => Node) => {
    const g = new GraphBuilder();
    return joinPaddedSums(g.build({ y: build(g) })).outputs.get('y')!;
  };

  test('parts that cover a dimension are put one after the other, in whatever order they are added', () => {
    const y = joined((g) =>
      g.add(part(g, 'c', 5, 6), g.add(part(g, 'a', 0, 2), part(g, 'b', 2, 5))),
    );
    expect(y.op).toBe('concat');
    expect(y.attrs).toEqual({ axis: 1 });
    expect(y.inputs.map((x) => (x.op === 'input' ? x.attrs.name : x.op))).toEqual(['a', 'b', 'c']);
  });

  test.each<[string, (g: GraphBuilder) => Node]>([
    ['there is a gap', (g) => g.add(part(g, 'a', 0, 2), part(g, 'b', 3, 6))],
    ['two overlap', (g) => g.add(part(g, 'a', 0, 3), part(g, 'b', 2, 6))],
    ['one is no part', (g) => g.add(part(g, 'a', 0, 2), g.input('b', [2, 6]))],
    [
      'they are parts of two dimensions',
      (g) => g.add(part(g, 'a', 0, 2), g.pad(g.input('b', [1, 4]), [1, 2], [0, 0])),
    ],
  ])('not where %s', (_, build) => {
    expect(joined(build).op).toBe('add');
  });

  test('a sum that something else reads stays as well', () => {
    const g = new GraphBuilder();
    const inner = g.add(part(g, 'a', 0, 2), part(g, 'b', 2, 6));
    const graph = joinPaddedSums(g.build({ inner, outer: g.add(inner, part(g, 'c', 0, 2)) }));
    expect(graph.outputs.get('outer')!.op).toBe('add');
    expect(graph.outputs.get('inner')!.op).toBe('concat');
  });
});

describe('mergeSlices', () => {
  const merged = (build: (g: GraphBuilder, x: Node) => Node) => {
    const g = new GraphBuilder();
    const x = g.input('x', [6, 2]);
    return { x, y: mergeSlices(g.build({ y: build(g, x) })).outputs.get('y')! };
  };
  const cut = (g: GraphBuilder, x: Node, start: number, end: number) =>
    g.sliceAxis(x, 0, start, end);

  test('all parts put together are the value', () => {
    const { x, y } = merged((g, value) =>
      g.concat([cut(g, value, 0, 1), cut(g, value, 1, 4), cut(g, value, 4, 6)], 0),
    );
    expect(y).toBe(x);
  });

  test('neighbours are one slice, among others', () => {
    const { y } = merged((g, value) =>
      g.concat([g.exp(value), cut(g, value, 1, 3), cut(g, value, 3, 5), cut(g, value, 0, 1)], 0),
    );
    expect(y.shape).toEqual([11, 2]);
    expect(y.inputs.map(({ op, shape }) => `${op} ${shape}`)).toEqual([
      'exp 6,2',
      'slice 4,2',
      'slice 1,2',
    ]);
  });

  test('slices of another dimension or value are not', () => {
    const g = new GraphBuilder();
    const [a, b] = [g.input('a', [4, 4]), g.input('b', [4, 4])];
    const other = g.concat([cut(g, a, 0, 2), cut(g, b, 2, 4)], 0);
    const across = g.concat([g.sliceAxis(a, 1, 0, 2), g.sliceAxis(a, 1, 2, 4)], 0);
    const graph = mergeSlices(g.build({ other, across }));
    expect([...graph.outputs.values()]).toEqual([other, across]);
  });
});

describe('eliminateCommonSubexpressions', () => {
  const countOf = (build: (g: GraphBuilder, x: Node) => Node) => {
    const g = new GraphBuilder();
    const y = build(g, g.input('x', [2, 3]));
    return eliminateCommonSubexpressions(g.build({ y })).nodes.length;
  };

  test('equal operations are merged, through several levels', () => {
    const twice = (g: GraphBuilder, x: Node) =>
      g.add(g.exp(g.reshape(x, [6])), g.exp(g.reshape(x, [6])));
    expect(countOf(twice)).toBe(4);
  });

  test.each<[string, (g: GraphBuilder, x: Node) => Node]>([
    ['attributes', (g, x) => g.add(g.reshape(x, [6]), g.reshape(g.transpose(x, [1, 0]), [6]))],
    ['the order of inputs', (g, x) => g.add(g.sub(x, g.exp(x)), g.sub(g.exp(x), x))],
    ['kinds', (g, x) => g.add(g.silu(x), g.gelu(x))],
  ])('different %s are not', (_, build) => {
    const g = new GraphBuilder();
    const y = build(g, g.input('x', [2, 3]));
    const merged = eliminateCommonSubexpressions(g.build({ y }));
    const sides = merged.outputs.get('y')!.inputs;
    expect(sides[0]).not.toBe(sides[1]);
  });

  test('infinities of both signs are not one value', () => {
    const infinity = Number.POSITIVE_INFINITY;
    const both = (g: GraphBuilder) => g.sub(g.constant(infinity), g.constant(-infinity));
    expect(countOf(both)).toBe(3);
    expect(countOf((g) => g.sub(g.constant(infinity), g.constant(Number.NaN)))).toBe(3);
  });

  test('barriers are never merged', () => {
    expect(countOf((g, x) => g.add(g.barrier(x, x), g.barrier(x, x)))).toBe(4);
  });
});

test('eliminateDeadCode drops what nothing reads and keeps the order', () => {
  const g = new GraphBuilder();
  const x = g.input('x', [2]);
  const unused = g.exp(x);
  const y = g.silu(x);
  const graph = g.build({ y, unused }, { v: g.sqrt(x) });
  const kept = eliminateDeadCode({ ...graph, outputs: new Map([['y', y]]) });
  expect(kept.nodes.map(({ op }) => op)).toEqual(['input', 'silu', 'sqrt']);
});
