/**
 * @file Whether a graph has a second stream is a matter of time. The stream of these tests does its work at once,
 * on the processor; the driver's is tested on a GPU by bench/gpu.sh.
 */

import { describe, expect, test } from 'vitest';
import { OutOfMemoryError } from '../../../src/runtime/executor.ts';
import { CapturedRun } from '../../../src/runtime/torch/captured-run.ts';
import { DeviceMemory } from '../../../src/runtime/torch/device-memory.ts';
import { findLibtorch } from '../../../src/runtime/torch/find-libtorch.ts';
import type { GraphMaker } from '../../../src/runtime/torch/graph-pool.ts';
import { Plan } from '../../../src/runtime/torch/plan.ts';
import { SideRun } from '../../../src/runtime/torch/side-run.ts';
import type { SideStream } from '../../../src/runtime/torch/side-stream.ts';
import { TorchEmitter, tensor, whole, wholes } from '../../../src/runtime/torch/torch-emitter.ts';
import { loadTorchLibrary } from '../../../src/runtime/torch/torch-library.ts';
import { torchMissing } from '../../helpers/executors.ts';

function busyFor(milliseconds: number): void {
  const until = performance.now() + milliseconds;
  while (performance.now() < until);
}

/** The square of a matrix, written to a vector that is read twenty calls later. */
function squaring() {
  const library = loadTorchLibrary(findLibtorch());
  const memory = new DeviceMemory(library, { kind: 'cpu', index: -1 });
  const emitter = new TorchEmitter();
  const f32 = { dtype: 'f32' } as const;
  const x = emitter.leaf('f32');
  const vector = emitter.allocate([4], 'f32');
  const part = emitter.emit('narrow', [tensor(vector), whole(0), whole(0), whole(4)], f32);
  const place = emitter.emit('reshape', [tensor(part), wholes([2, 2])], f32);
  const square = emitter.write('mm', 'out', [tensor(x), tensor(x)], place, vector);
  let other = x;
  for (let i = 0; i < 20; i++) other = emitter.emit('sigmoid', [tensor(other)], f32);
  const result = emitter.emit('sigmoid', [tensor(square)], f32);
  const { calls, size } = emitter;
  const plan = new Plan(library, {
    calls,
    size,
    fixed: [x.id],
    results: [result.id, other.id],
    allocate: (...made) => memory.allocate(...made),
  });
  plan.set(x.id, memory.upload([1, 2, 3, 4], [2, 2], 'f32'));
  const beside = new SideRun(calls);
  return { plan, beside, read: () => memory.download(plan.get(result.id), [4], 'f32') };
}

/**
 * @param milliseconds that work takes there, and elsewhere
 * @param fails there
 */
async function captured(
  milliseconds: { readonly side: number; readonly row: number },
  fails?: Error,
) {
  const { plan, beside, read } = squaring();
  let [aside, launches] = [0, 0];
  const stream = {
    run: (work: () => void) => {
      if (fails) throw fails;
      aside++;
      busyFor(milliseconds.side);
      work();
    },
    join: () => undefined,
    abandon: () => undefined,
  };
  const maker: GraphMaker = {
    capture: (work) => ({
      launch: () => {
        launches++;
        const before = aside;
        plan.clearResults();
        work();
        if (aside === before) busyFor(milliseconds.row);
      },
      dispose: () => undefined,
    }),
  };
  const run = new CapturedRun({
    plan,
    maker,
    state: {
      save: () => ({ restore: () => undefined, forget: () => undefined }),
      read: () => [read()],
    },
    side: {
      stream: stream as unknown as SideStream,
      calls: beside,
      trials: maker,
      wait: () => undefined,
    },
    releaseCache: () => undefined,
    othersHold: () => false,
    onRefused: (reason) => {
      throw new Error(reason);
    },
  });
  for (let i = 0; i < 3; i++) await run.run();
  expect(run.isCaptured).toBe(true);
  const before = { aside, launches };
  await run.run();
  expect(launches - before.launches).toBe(1);
  const expected = [7, 10, 15, 22].map((value) => 1 / (1 + Math.exp(-value)));
  for (const [i, value] of read().entries()) expect(value).toBeCloseTo(expected[i]!, 6);
  return aside - before.aside;
}

const suite =
  torchMissing === undefined ? 'a second stream' : `a second stream (skipped: ${torchMissing})`;

describe.skipIf(torchMissing !== undefined)(suite, () => {
  test('stays where the graph is faster with it', async () => {
    expect(await captured({ side: 0, row: 3 })).toBe(1);
  });

  test('goes where it is not', async () => {
    expect(await captured({ side: 3, row: 0 })).toBe(0);
  });

  test('goes where it fails, for a lack of memory or what else', async () => {
    const lack = new OutOfMemoryError('out of memory');
    expect(await captured({ side: 0, row: 3 }, lack)).toBe(0);
  });
});
