/** @file What every executor promises beyond its operations: feeds, variables, shared state. */

import { describe, expect, test } from 'vitest';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import { beginRun, type PendingRun } from '../../src/runtime/executor.ts';
import { createReferenceExecutor } from '../../src/runtime/reference/reference-executor.ts';
import { f32, i32 } from '../../src/tensor/tensor.ts';
import { executors, noParameters, parametersFrom } from '../helpers/executors.ts';

describe.each(executors)('$name', ({ create }) => {
  test('updates move variables after all values are computed', async () => {
    const executor = create(noParameters);
    const g = new GraphBuilder();
    const [a, b] = [g.variable('a', [2]), g.variable('b', [2])];
    const x = g.input('x', [2]);
    executor.writeVariable('a', f32([2], [1, 2]));
    executor.writeVariable('b', f32([2], [10, 20]));
    // Both exchange their values, and one adds x.
    const executable = await executor.compile(
      g.build({ sum: g.add(a, b) }, { a: b, b: g.add(a, x) }),
    );
    const { sum: first } = await executable.run({ x: f32([2], [0.5, 0]) });
    expect(first).toEqual(f32([2], [11, 22]));
    expect(executor.readVariable('a')).toEqual(f32([2], [10, 20]));
    expect(executor.readVariable('b')).toEqual(f32([2], [1.5, 2]));
    const { sum: second } = await executable.run({ x: f32([2], [0, 0]) });
    expect(second).toEqual(f32([2], [11.5, 22]));
    expect(executor.readVariable('b')).toEqual(f32([2], [10, 20]));
    // What was fetched before does not change with later runs.
    expect(first).toEqual(f32([2], [11, 22]));
    await executor.dispose();
  });

  test('graphs share variables, and writing replaces them', async () => {
    const executor = create(noParameters);
    const g = new GraphBuilder();
    const v = g.variable('v', [3]);
    executor.writeVariable('v', f32([3], [1, 2, 3]));
    const step = await executor.compile(g.build({}, { v: g.scale(v, 2) }));
    const read = await executor.compile(g.build({ y: g.exp(g.sub(v, v)), z: g.add(v, v) }));
    await step.run({});
    const { y, z } = await read.run({});
    expect([y, z]).toEqual([f32([3], [1, 1, 1]), f32([3], [4, 8, 12])]);
    executor.writeVariable('v', f32([3], [5, 5, 5]));
    await step.dispose();
    const { z: written } = await read.run({});
    expect(written).toEqual(f32([3], [10, 10, 10]));
    await executor.dispose();
  });

  test('what is read and written are copies', async () => {
    const executor = create(noParameters);
    const value = f32([2], [1, 2]);
    executor.writeVariable('v', value);
    value.data[0] = 9;
    executor.readVariable('v').data[1] = 9;
    expect(executor.readVariable('v')).toEqual(f32([2], [1, 2]));
    const g = new GraphBuilder();
    const executable = await executor.compile(g.build({ v: g.variable('v', [2]) }));
    const { v } = await executable.run({});
    (v!.data as Float32Array).fill(7);
    expect(executor.readVariable('v')).toEqual(f32([2], [1, 2]));
    await executor.dispose();
  });

  test('parameters are bound by name', async () => {
    const executor = create(parametersFrom({ w: f32([2], [3, 4]) }));
    const g = new GraphBuilder();
    const y = g.mul(g.parameter('w', [2]), g.input('x', [2]));
    const executable = await executor.compile(g.build({ y }));
    expect(await executable.run({ x: f32([2], [2, 10]) })).toEqual({ y: f32([2], [6, 40]) });
    await executor.dispose();
  });

  test('one value fetched under two names, and a leaf', async () => {
    const executor = create(noParameters);
    const g = new GraphBuilder();
    const x = g.input('x', [2]);
    const y = g.scale(x, 3);
    const executable = await executor.compile(g.build({ a: y, b: y, x }));
    const outputs = await executable.run({ x: f32([2], [1, 2]) });
    expect(outputs).toEqual({ a: f32([2], [3, 6]), b: f32([2], [3, 6]), x: f32([2], [1, 2]) });
    await executor.dispose();
  });

  test('wrong feeds and unknown variables are internal errors', async () => {
    const executor = create(noParameters);
    const g = new GraphBuilder();
    const y = g.gather(g.input('table', [3, 2]), g.input('ids', [2], 'i32'));
    const executable = await executor.compile(g.build({ y }));
    const table = f32([3, 2]);
    const ids = i32([2], [0, 1]);
    await expect(executable.run({ table })).rejects.toThrow(/internal: .*ids/);
    await expect(executable.run({ table: f32([2, 2]), ids })).rejects.toThrow(/internal: .*table/);
    await expect(executable.run({ table, ids: f32([2]) })).rejects.toThrow(/internal: .*ids/);
    expect(() => executor.readVariable('none')).toThrow(/internal: variable none/);
    await executor.dispose();
  });
});

describe.each(executors)('$name, begun runs', ({ create }) => {
  test('a run that is begun is in time for the next one, and is read later', async () => {
    const executor = create(noParameters);
    executor.writeVariable('v', f32([2], [1, 2]));
    const g = new GraphBuilder();
    const next = g.mul(g.variable('v', [2]), g.input('x', [2]));
    const executable = await executor.compile(g.build({ y: next }, { v: next }));
    const feed = f32([2], [2, 3]);
    const begun: PendingRun[] = [];
    for (let i = 0; i < 4; i++) {
      begun.push(await beginRun(executable, { x: feed }));
      feed.data[0] = feed.data[0]! + 1;
    }
    const read = [];
    for (const run of begun.reverse()) read.push((await run.read())['y']);
    const expected = [f32([2], [120, 162]), f32([2], [24, 54]), f32([2], [6, 18])];
    expect(read).toEqual([...expected, f32([2], [2, 6])]);
    expect(executor.readVariable('v')).toEqual(f32([2], [120, 162]));
    await executor.dispose();
  });
});

describe('reference', () => {
  test('feeds that the graph does not know, or of another shape, are refused', async () => {
    const executor = createReferenceExecutor({ parameters: noParameters, precision: 'f32' });
    const g = new GraphBuilder();
    const executable = await executor.compile(g.build({ y: g.exp(g.input('x', [2, 1])) }));
    const x = f32([2, 1]);
    await expect(executable.run({ x, z: x })).rejects.toThrow('internal: the graph has no input z');
    await expect(executable.run({ x: f32([2]) })).rejects.toThrow(
      'internal: input x is f32[2], expected f32[2,1]',
    );
    const wide = { dtype: 'f64', shape: [2, 1], data: new Float64Array(2) } as const;
    await expect(executable.run({ x: wide })).rejects.toThrow('input x is f64[2,1]');
    await executable.dispose();
    await expect(executable.run({ x })).rejects.toThrow('internal: run after dispose');
  });

  test('in f64 nothing is rounded to f32, not even between runs', async () => {
    const executor = createReferenceExecutor({ parameters: noParameters, precision: 'f64' });
    const g = new GraphBuilder();
    const v = g.variable('v', []);
    executor.writeVariable('v', f32([], [1]));
    const x = g.input('x', []);
    const executable = await executor.compile(g.build({ v }, { v: g.add(v, x) }));
    const tiny = { dtype: 'f64', shape: [], data: Float64Array.of(1e-12) } as const;
    await executable.run({ x: tiny });
    const outputs = await executable.run({ x: tiny });
    expect(outputs).toEqual({ v: { dtype: 'f64', shape: [], data: Float64Array.of(1 + 1e-12) } });
  });

  test('in f32 sums are exact to the last rounding', async () => {
    const executor = createReferenceExecutor({ parameters: noParameters, precision: 'f32' });
    const g = new GraphBuilder();
    const executable = await executor.compile(g.build({ y: g.sum(g.input('x', [3]), [0]) }));
    // In f32 the one would be lost.
    const { y } = await executable.run({ x: f32([3], [2 ** 30, 1, -(2 ** 30)]) });
    expect(y!.data[0]).toBe(1);
  });
});
