/**
 * @file When a plan is captured, and what happens where that fails. The graphs of these tests are
 * libtorch's calls on the processor, done again; the driver's are tested on a GPU by bench/gpu.sh.
 */

import { describe, expect, test } from 'vitest';
import { OutOfMemoryError } from '../../../src/runtime/executor.ts';
import { compareRuns } from '../../../src/runtime/torch/agreement.ts';
import { CapturedRun } from '../../../src/runtime/torch/captured-run.ts';
import { DeviceMemory } from '../../../src/runtime/torch/device-memory.ts';
import { findLibtorch } from '../../../src/runtime/torch/find-libtorch.ts';
import type { GraphMaker } from '../../../src/runtime/torch/graph-pool.ts';
import { Plan } from '../../../src/runtime/torch/plan.ts';
import { TorchEmitter, tensor } from '../../../src/runtime/torch/torch-emitter.ts';
import { loadTorchLibrary } from '../../../src/runtime/torch/torch-library.ts';
import { torchMissing } from '../../helpers/executors.ts';

/** v ← v·x, with the result v·x; and a run of it. */
function doubling(
  maker: (plan: Plan) => GraphMaker,
  start = 1,
  { isNetwork = false, saves = true, othersHold = false } = {},
) {
  const library = loadTorchLibrary(findLibtorch());
  const memory = new DeviceMemory(library, { kind: 'cpu', index: -1 });
  const emitter = new TorchEmitter();
  const [v, x] = [emitter.leaf('f32'), emitter.leaf('f32')];
  const args = [tensor(v), tensor(x)];
  const y = emitter.emit('mul', args, { overload: 'Tensor', dtype: 'f32' });
  emitter.copy(y, v);
  const { calls, size } = emitter;
  const plan = new Plan(library, {
    calls,
    size,
    fixed: [v.id, x.id],
    results: [y.id],
    allocate: (...made) => memory.allocate(...made),
  });
  const variable = memory.upload([start], [1], 'f32');
  plan.set(v.id, variable);
  plan.set(x.id, memory.upload([2], [1], 'f32'));
  const notes: string[] = [];
  const value = () => memory.download(variable, [1], 'f32')[0]!;
  const run = new CapturedRun({
    releaseCache: () => undefined,
    othersHold: () => othersHold,
    isNetwork,
    plan,
    maker: maker(plan),
    state: {
      save: () => {
        if (!saves) throw new OutOfMemoryError('no copy');
        const before = value();
        return {
          restore: () => {
            const handle = memory.upload([before], [1], 'f32');
            memory.copy(handle, variable);
            memory.free(handle);
          },
          forget: () => undefined,
        };
      },
      read: () => [memory.download(plan.get(y.id), [1], 'f32'), [value()]],
    },
    onRefused: (reason) => notes.push(reason),
  });
  return { run, value, notes, result: () => plan.get(y.id) };
}

/** A graph is the calls, done again. */
const again =
  (launched: { count: number }, spoil: () => void = () => undefined) =>
  (plan: Plan): GraphMaker => ({
    capture: (work) => ({
      launch: () => {
        launched.count++;
        plan.clearResults();
        work();
        spoil();
      },
      dispose: () => undefined,
    }),
  });

const suite =
  torchMissing === undefined ? 'captured runs' : `captured runs (skipped: ${torchMissing})`;

describe.skipIf(torchMissing !== undefined)(suite, () => {
  test('the third run is captured, and gives once what it gave without', async () => {
    const launched = { count: 0 };
    const { run, value, notes } = doubling(again(launched));
    for (let i = 0; i < 2; i++) await run.run();
    expect([value(), launched.count, run.isCaptured]).toEqual([4, 0, false]);
    await run.run();
    expect([value(), launched.count, run.isCaptured]).toEqual([8, 1, true]);
    await run.run();
    expect([value(), launched.count]).toEqual([16, 2]);
    // Given up, it runs call by call and is captured anew.
    run.release();
    for (let i = 0; i < 4; i++) await run.run();
    expect([value(), launched.count]).toEqual([256, 4]);
    expect(notes).toEqual([]);
  });

  test('a network is captured a run later, behind the optimizer of its step', async () => {
    const launched = { count: 0 };
    const { run, value } = doubling(again(launched), 1, { isNetwork: true });
    for (let i = 0; i < 3; i++) await run.run();
    expect([value(), run.isCaptured]).toEqual([8, false]);
    await run.run();
    expect([value(), launched.count, run.isCaptured]).toEqual([16, 1, true]);
  });

  test('what cannot be captured goes on call by call, and says why', async () => {
    const { run, value, notes } = doubling(() => ({ capture: () => 'it is not to be' }));
    for (let i = 0; i < 5; i++) await run.run();
    expect([value(), run.isCaptured, notes]).toEqual([32, false, ['it is not to be']]);
  });

  test('a graph that gives something else is not used', async () => {
    const launched = { count: 0 };
    const { run, value, notes } = doubling((plan) => ({
      capture: (work) =>
        again(launched, () => {
          // As if the variable had been changed twice.
          plan.clearResults();
          work();
        })(plan).capture(work),
    }));
    for (let i = 0; i < 5; i++) await run.run();
    expect([value(), launched.count]).toEqual([32, 1]);
    expect(notes).toEqual(['its replay does not give the same values']);
  });

  test('values that are not finite say nothing: it is tried later', async () => {
    const { run, value, notes, result } = doubling(again({ count: 0 }), Number.POSITIVE_INFINITY);
    for (let i = 0; i < 5; i++) await run.run();
    expect([value(), run.isCaptured, notes]).toEqual([Number.POSITIVE_INFINITY, false, []]);
    for (let i = 0; i < 16; i++) await run.run();
    expect(notes).toEqual(['its values are not finite']);
    // Which are to be fetched.
    expect(result()).not.toBe(0);
  });
});

describe.skipIf(torchMissing !== undefined)(`${suite}, and room`, () => {
  test('room is made for others without a run call by call after it', async () => {
    const launched = { count: 0 };
    const proven: (boolean | undefined)[] = [];
    const { run, value, notes } = doubling((plan) => ({
      capture: (work, isProven) => {
        proven.push(isProven);
        return again(launched)(plan).capture(work);
      },
    }));
    for (let i = 0; i < 3; i++) await run.run();
    run.makeRoom();
    expect(run.isCaptured).toBe(false);
    await run.run();
    expect([value(), launched.count, run.isCaptured]).toEqual([16, 2, true]);
    expect([proven, notes]).toEqual([[undefined, true], []]);
    // Released, it has to show anew what it gives.
    run.release();
    for (let i = 0; i < 3; i++) await run.run();
    expect(proven).toEqual([undefined, true, undefined]);
  });

  test.each([true, false])(
    'what cannot be captured again; others could make room: %s',
    async (othersHold) => {
      const launched = { count: 0 };
      const { run, value, notes } = doubling(
        (plan) => ({
          capture: (work, isProven) => (isProven ? 'no room' : again(launched)(plan).capture(work)),
        }),
        1,
        { othersHold },
      );
      for (let i = 0; i < 3; i++) await run.run();
      run.makeRoom();
      if (othersHold) await expect(run.run()).rejects.toThrow(OutOfMemoryError);
      else await run.run();
      expect(value()).toBe(othersHold ? 8 : 16);
      expect([run.isRefused, notes]).toEqual(othersHold ? [false, []] : [true, ['no room']]);
    },
  );

  test('without memory for copies it goes on call by call, where no other graph can make room', async () => {
    const alone = doubling(again({ count: 0 }), 1, { saves: false });
    for (let i = 0; i < 4; i++) await alone.run.run();
    expect([alone.value(), alone.notes]).toEqual([16, [expect.stringContaining('no memory left')]]);
    const beside = doubling(again({ count: 0 }), 1, { saves: false, othersHold: true });
    for (let i = 0; i < 2; i++) await beside.run.run();
    await expect(beside.run.run()).rejects.toThrow(OutOfMemoryError);
    expect([beside.value(), beside.notes]).toEqual([4, []]);
  });
});

test('runs agree within the rounding of sums in another order', () => {
  expect(compareRuns([[1, 2], [0]], [[1.01, 2], [0]])).toBe('same');
  expect(compareRuns([[1, 2], [0]], [[1.5, 2], [0]])).toBe('different');
  expect(compareRuns([[1, 2], [0]], [[1, 2], [1e-9]])).toBe('different');
  expect(compareRuns([[1, 2]], [[1, Number.NaN]])).toBe('different');
  expect(compareRuns([[1, Number.NaN]], [[1, Number.NaN]])).toBe('not finite');
});
