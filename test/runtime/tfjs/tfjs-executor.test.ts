/** @file What is TensorFlow.js's own: tensors are freed, back ends take turns, memory ends. */

import { expect, test } from 'vitest';
import { grad } from '../../../src/graph/autodiff/grad.ts';
import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import { createReferenceExecutor } from '../../../src/runtime/reference/reference-executor.ts';
import { openTfjs, type TfjsBackend } from '../../../src/runtime/tfjs/open-tfjs.ts';
import { createTfjsExecutor } from '../../../src/runtime/tfjs/tfjs-executor.ts';
import { Rng } from '../../../src/tensor/rng.ts';
import { type Shape, sizeOf } from '../../../src/tensor/shape.ts';
import { f32, i32 } from '../../../src/tensor/tensor.ts';
import { noParameters, parametersFrom } from '../../helpers/executors.ts';

const wasm = await openTfjs('wasm');
const cpu = await openTfjs('cpu');

const normals = (shape: Shape, key: string) => f32(shape, new Rng(5, key).normals(sizeOf(shape)));
const weights = { w: normals([8, 8], 'w'), b: normals([8], 'b'), k: normals([8, 8, 3, 3], 'k') };

/** A frozen convolution, an attention and a layer with a factor beside it, and the factor's update. */
function smallStep() {
  const g = new GraphBuilder();
  const kernel = g.parameter('k', [8, 8, 3, 3]);
  const image = g.conv2d(g.input('x', [1, 8, 4, 4]), kernel, undefined, { padding: 1 });
  const rows = g.transpose(g.reshape(image, [1, 8, 16]), [0, 2, 1]);
  const factor = g.reshape(g.sliceAxis(g.variable('v', [128]), 0, 0, 64), [8, 8]);
  const low = g.linear(rows, factor);
  const mixed = g.attention(low, rows, rows, { heads: 2, causal: true, scale: 0.5 });
  const y = g.silu(g.add(g.linear(mixed, g.parameter('w', [8, 8]), g.parameter('b', [8])), low));
  const loss = g.mean(g.square(y), [0, 1, 2]);
  const [gradient] = grad(g, loss, [factor]);
  const flat = g.concat([g.reshape(gradient!, [64]), g.constant(0, [64])], 0);
  const next = g.sub(g.variable('v', [128]), g.scale(flat, 1e-4));
  return g.build({ loss }, { v: next });
}

const create = (backend: TfjsBackend) =>
  createTfjsExecutor({ parameters: parametersFrom(weights), backend });

async function start(backend: TfjsBackend) {
  const executor = create(backend);
  executor.writeVariable('v', normals([128], 'v'));
  const executable = await executor.compile(smallStep());
  const run = async (step: number) => {
    const { loss } = await executable.run({ x: normals([1, 8, 4, 4], `x${step}`) });
    return loss!.data[0] as number;
  };
  return { executor, executable, run };
}

test.each([wasm, cpu])('$engine: no tensor is left behind', async (backend) => {
  const { memory } = backend.tf;
  const atFirst = memory().numTensors;
  const { executor, executable, run } = await start(backend);
  await run(0);
  const { numTensors, numBytes } = memory();
  for (let step = 1; step < 20; step++) await run(step);
  expect(memory()).toMatchObject({ numTensors, numBytes });
  // A run that fails half-way.
  const g = new GraphBuilder();
  const rows = g.gather(g.exp(g.input('x', [4, 2])), g.input('ids', [1], 'i32'));
  const failing = await executor.compile(g.build({ y: g.exp(rows) }));
  const feeds = { x: f32([4, 2]), ids: i32([1], [7]) };
  await expect(failing.run(feeds)).rejects.toThrow('the index value 7 is not in [0, 3]');
  expect(memory()).toMatchObject({ numTensors, numBytes });
  await executable.dispose();
  await expect(executable.run({})).rejects.toThrow('internal: run while disposed');
  await executor.dispose();
  expect(memory().numTensors).toBe(atFirst);
});

test('back ends take turns in one process, and agree', async () => {
  const [first, second] = await Promise.all([start(wasm), start(cpu)]);
  const losses = { wasm: [] as number[], cpu: [] as number[] };
  for (let step = 0; step < 5; step++) {
    const [a, b] = await Promise.all([first.run(step), second.run(step)]);
    losses.wasm.push(a);
    losses.cpu.push(b);
  }
  expect(losses.wasm).toBeAllClose(losses.cpu, { rtol: 1e-5, atol: 0 });
  const [v, w] = [first.executor.readVariable('v'), second.executor.readVariable('v')];
  expect(v.data).toBeAllClose(w.data, { rtol: 0, atol: 1e-5 });
  expect(v.data).not.toEqual(normals([128], 'v').data);
  await Promise.all([first.executor.dispose(), second.executor.dispose()]);
});

test('long sums are summed in parts', async () => {
  const executor = create(wasm);
  const g = new GraphBuilder();
  const size = 2 ** 20;
  const executable = await executor.compile(g.build({ y: g.sum(g.input('x', [size]), [0]) }));
  // A tenth, added a million times to the last sum, is off by 4 %.
  const { y } = await executable.run({ x: f32([size], new Float32Array(size).fill(0.1)) });
  expect(y!.data as Float32Array).toBeAllClose([size * Math.fround(0.1)], { rtol: 1e-5, atol: 0 });
  await executor.dispose();
});

test('parts of values of every rank are taken', async () => {
  const executor = create(wasm);
  const g = new GraphBuilder();
  const shapes = [[5], [4, 5], [3, 4, 5], [2, 3, 4, 5], [2, 2, 3, 4, 5], [2, 1, 2, 3, 4, 5]];
  const values = Object.fromEntries(
    shapes.map((shape) => [`x${shape.length}`, normals(shape, 'x')]),
  );
  const outputs = shapes.flatMap((shape) => {
    const x = g.input(`x${shape.length}`, shape);
    return shape.map((size, axis) => {
      const part = g.sliceAxis(x, axis, Math.floor(size / 2), size);
      return [`${shape.length} along ${axis}`, part] as const;
    });
  });
  const graph = g.build(Object.fromEntries(outputs));
  const exact = createReferenceExecutor({ parameters: noParameters, precision: 'f32' });
  const wanted = await (await exact.compile(graph)).run(values);
  expect(await (await executor.compile(graph)).run(values)).toEqual(wanted);
  await executor.dispose();
});

test('a table of integers passes through', async () => {
  const executor = create(wasm);
  const g = new GraphBuilder();
  const ids = g.input('ids', [2, 2], 'i32');
  const executable = await executor.compile(g.build({ ids: g.reshape(ids, [4]) }));
  const { ids: same } = await executable.run({ ids: i32([2, 2], [1, -2, 2 ** 30, 4]) });
  expect(same).toEqual(i32([4], [1, -2, 2 ** 30, 4]));
  await executor.dispose();
});

test('a base that cannot fit is refused before a weight is read', async () => {
  const executor = createTfjsExecutor({ parameters: noParameters, backend: wasm });
  const g = new GraphBuilder();
  const size = 2 ** 15;
  const y = g.linear(g.input('x', [1, size]), g.parameter('w', [size, size]));
  await expect(executor.compile(g.build({ y }))).rejects.toThrow(
    'TensorFlow.js would need 8.3 GiB for this base, and wasm has 4',
  );
  await executor.dispose();
});

test("wasm's memory ends with a message, and what was there stays", async () => {
  const executor = createTfjsExecutor({ parameters: noParameters, backend: wasm });
  executor.writeVariable('v', f32([2], [1, 2]));
  const { tf } = wasm;
  const engine = tf.engine();
  const place = engine.findBackend('wasm');
  // Memory that is taken and never touched costs the machine nothing.
  const taken: object[] = [];
  const take = () => taken.push(place.write(null as never, [2 ** 27], 'float32'));
  expect(() => {
    for (let i = 0; i < 9; i++) take();
  }).toThrow(/TensorFlow.js has run out of memory: wasm has 4 GiB.*device.executor: onnx/);
  expect(taken).toHaveLength(7);
  expect(executor.readVariable('v')).toEqual(f32([2], [1, 2]));
  for (const id of taken) place.disposeData(id);
  executor.writeVariable('v', f32([2], [3, 4]));
  expect(executor.readVariable('v')).toEqual(f32([2], [3, 4]));
  await executor.dispose();
});
