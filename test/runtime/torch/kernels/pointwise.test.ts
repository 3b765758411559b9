/** @file Chains of elementwise operations as one kernel: what is joined, what is not, and what it gives. */

import { describe, expect, test } from 'vitest';
import { GraphBuilder } from '../../../../src/graph/graph-builder.ts';
import type { Graph, Node } from '../../../../src/graph/ops.ts';
import type { Executor } from '../../../../src/runtime/executor.ts';
import { findPointwise } from '../../../../src/runtime/torch/find-pointwise.ts';
import { lowerGraph } from '../../../../src/runtime/torch/lower-graph.ts';
import { ownKernels, unchunked } from '../../../../src/runtime/torch/rules/rule.ts';
import { createTorchExecutor } from '../../../../src/runtime/torch/torch-executor.ts';
import { f32 } from '../../../../src/tensor/tensor.ts';
import { adamwCorrections, adamwGraph, adamwInputs } from '../../../../src/train/adamw.ts';
import { noParameters, torchMissing } from '../../../helpers/executors.ts';
import { compilerMissing, hostLauncher } from '../../../helpers/host-kernels.ts';

const size = 2 ** 16;
const nothing = { byAddition: new Map(), absorbed: new Set<never>() };
const opsOf = (graph: Graph) =>
  findPointwise(graph, nothing).map(({ members }) => members.map(({ op }) => op));

test('a chain ends where something else has to be computed first', () => {
  const g = new GraphBuilder();
  const x = g.input('x', [size]);
  const squared = g.square(g.add(x, g.constant(1)));
  // The sum has to wait for the square, and what is divided by it for the sum.
  const share = g.div(squared, g.sum(squared, [0]));
  const y = g.mul(share, g.sqrt(share));
  expect(opsOf(g.build({ y }))).toEqual([
    ['add', 'mul'],
    ['div', 'sqrt', 'mul'],
  ]);
});

test('what others want earlier is not joined; short vectors and single operations are left', () => {
  const g = new GraphBuilder();
  const x = g.input('x', [size]);
  const a = g.exp(x);
  const total = g.sum(a, [0]);
  const b = g.sqrt(a);
  const short = g.sqrt(g.exp(g.input('s', [8])));
  expect(opsOf(g.build({ total, b, short }))).toEqual([]);
});

test('numbers that only the chain reads are computed in it, others are read', () => {
  const g = new GraphBuilder();
  const x = g.input('x', [size]);
  const [rate, limit] = [g.input('rate', []), g.input('limit', [1])];
  const own = g.mul(rate, g.constant(2));
  const shared = g.sqrt(rate);
  const elsewhere = g.exp(rate);
  const y = g.add(g.mul(x, own), g.mul(g.mul(g.mul(x, shared), limit), elsewhere));
  const [chain] = findPointwise(g.build({ y, shared, again: g.sub(elsewhere, limit) }), nothing);
  expect(chain!.scalars).toEqual([own]);
  expect(new Set(chain!.inputs)).toEqual(new Set([x, rate, limit, shared, elsewhere]));
  expect(chain!.outputs).toEqual([y]);
});

/** What updates the variables p and m, both [size], from their old values. */
const updates = {
  'by one kernel': (g: GraphBuilder, p: Node, m: Node) => {
    const next = g.sqrt(g.add(g.square(m), g.square(p)));
    return {
      updates: { m: next, p: g.sub(next, p) },
      outputs: { old: g.sum(p, [0]), few: g.sliceAxis(m, 0, 3, 7) },
      copied: 0,
    };
  },
  'the new value is wanted': (g: GraphBuilder, p: Node, m: Node) => {
    const next = g.add(g.mul(p, m), p);
    return { updates: { p: next }, outputs: { next: g.sum(next, [0]) }, copied: 1 };
  },
  'one element is read by all': (g: GraphBuilder, p: Node, m: Node) => ({
    updates: { p: g.add(g.mul(p, g.sliceAxis(p, 0, 0, 1)), m) },
    outputs: {},
    copied: 1,
  }),
  // What is changed first is not read by the other one.
  exchanged: (g: GraphBuilder, p: Node, m: Node) => ({
    updates: { p: g.exp(g.mul(m, m)), m: g.sqrt(g.mul(p, p)) },
    outputs: {},
    copied: 1,
  }),
} satisfies Record<string, (g: GraphBuilder, p: Node, m: Node) => unknown>;

function updateGraph(kind: keyof typeof updates) {
  const g = new GraphBuilder();
  const made = updates[kind](g, g.variable('p', [size]), g.variable('m', [size]));
  return { graph: g.build(made.outputs as Record<string, Node>, made.updates), made };
}

const kinds = Object.keys(updates) as (keyof typeof updates)[];

test.each(kinds)('variables are written where they are if that is safe: %s', (kind) => {
  const { graph, made } = updateGraph(kind);
  const { calls } = lowerGraph(
    graph,
    {
      ...{ compute: 'f32', attention: () => unchunked('composed'), addsProducts: true },
      ...{ channelsLast: true, normsTakeChannelsLast: true, kernels: ownKernels },
    },
    {
      dtypeCodes: { f32: 6, f16: 5, bf16: 15, i32: 3, i64: 4, bool: 11 },
      memoryFormats: { contiguous: 0, channelsLast: 2 },
    },
  );
  const written = calls.flatMap((call) => (call.kind === 'launch' ? call.over : []));
  expect(calls.filter((call) => call.kind === 'copy')).toHaveLength(made.copied);
  expect(written).toHaveLength(Object.keys(made.updates).length - made.copied);
  // Whatever fails for want of memory comes before.
  const first = calls.findIndex((call) => call.kind === 'launch' && call.over.length > 0);
  const changes = first < 0 ? [] : calls.slice(first);
  expect(changes.every(({ kind }) => kind === 'launch' || kind === 'copy')).toBe(true);
});

const missing = torchMissing ?? compilerMissing;
const suite = missing === undefined ? 'AdamW' : `AdamW (skipped: ${missing})`;

const wave = (seed: number) =>
  f32(
    [size],
    Float32Array.from({ length: size }, (_, i) => Math.sin(i * 0.7 + seed)),
  );

describe.skipIf(missing !== undefined)(suite, () => {
  async function stepped(own: boolean) {
    const g = new GraphBuilder();
    const vector = (name: string) => g.variable(name, [size]);
    const keep = g.input('keep', []);
    const state = { param: vector('p'), m: vector('m'), v: vector('v') };
    const after = adamwGraph(g, state, g.input('g', [size]), adamwInputs(g));
    const kept = (now: Node, before: Node) => g.select(keep, now, before);
    const graph = g.build(
      {},
      { p: kept(after.param, state.param), m: kept(after.m, state.m), v: kept(after.v, state.v) },
    );
    const launcher = own ? hostLauncher() : undefined;
    const executor = createTorchExecutor({
      ...{ parameters: noParameters, device: 'cpu', compute: 'bf16' },
      ...(launcher ? { launcher } : {}),
    });
    for (const name of ['p', 'm']) executor.writeVariable(name, wave(name.length));
    executor.writeVariable('v', f32([size], wave(3).data.map((x) => x * x) as Float32Array));
    const executable = await executor.compile(graph);
    for (const [step, isKept] of [
      [1, 1],
      [2, Number.NaN],
      [3, 1],
    ] as const) {
      await executable.run({
        g: wave(step),
        learningRate: f32([], [1e-2]),
        keep: f32([], [isKept]),
        ...adamwCorrections(step),
      });
    }
    const read = ['p', 'm', 'v'].map((name) => executor.readVariable(name).data as Float32Array);
    await executor.dispose();
    return { read, entries: launcher?.entries };
  }

  test.each(kinds)('variables have their new values after two runs: %s', async (kind) => {
    const run = async (executor: Executor) => {
      const { graph } = updateGraph(kind);
      executor.writeVariable('p', wave(1));
      executor.writeVariable('m', wave(2));
      const executable = await executor.compile(graph);
      await executable.run({});
      const results = Object.values(await executable.run({})).map(({ data }) => data);
      const variables = ['p', 'm'].map((name) => executor.readVariable(name).data);
      await executor.dispose();
      return [...results, ...variables].map((values) => values as Float32Array);
    };
    const options = { parameters: noParameters, device: 'cpu', compute: 'f32' } as const;
    const own = await run(createTorchExecutor({ ...options, launcher: hostLauncher() }));
    const plain = await run(createTorchExecutor(options));
    for (const [i, values] of plain.entries()) {
      expect(own[i]).toBeAllClose(values, { rtol: 1e-5, atol: 1e-5 });
    }
  });

  test('is one kernel, in f32 whatever the networks are in, and skips a step that does not count', async () => {
    const [own, plain] = [await stepped(true), await stepped(false)];
    expect(own.entries).toEqual(['pointwise']);
    for (const [i, values] of plain.read.entries()) {
      const worst = values.reduce(
        (most, value, j) => Math.max(most, Math.abs(value - own.read[i]![j]!)),
        0,
      );
      expect(worst).toBeLessThan(1e-6);
    }
  });
});
