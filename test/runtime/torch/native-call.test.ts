/** @file Operations by their C functions, with one that the processor has: attention of a GPU goes the same way. */

import { describe, expect, test } from 'vitest';
import { DeviceMemory } from '../../../src/runtime/torch/device-memory.ts';
import { findLibtorch } from '../../../src/runtime/torch/find-libtorch.ts';
import { Plan } from '../../../src/runtime/torch/plan.ts';
import {
  flag,
  float,
  none,
  some,
  TorchEmitter,
  tensor,
  type Value,
  withoutUnused,
} from '../../../src/runtime/torch/torch-emitter.ts';
import { loadTorchLibrary } from '../../../src/runtime/torch/torch-library.ts';
import { Rng } from '../../../src/tensor/rng.ts';
import { sizeOf } from '../../../src/tensor/shape.ts';
import { torchMissing } from '../../helpers/executors.ts';

const shape = [1, 2, 20, 8];
const op = '_scaled_dot_product_flash_attention_for_cpu';
const types = ['f32', 'f32'] as const;

const suite =
  torchMissing === undefined ? 'native calls' : `native calls (skipped: ${torchMissing})`;

describe.skipIf(torchMissing !== undefined)(suite, () => {
  function planOf(emitter: TorchEmitter, leaves: readonly Value[], results: readonly Value[]) {
    const library = loadTorchLibrary(findLibtorch());
    const memory = new DeviceMemory(library, { kind: 'cpu', index: -1 });
    const plan = new Plan(library, {
      calls: withoutUnused(emitter.calls, results),
      size: emitter.size,
      fixed: leaves.map(({ id }) => id),
      results: results.map(({ id }) => id),
      allocate: (...made) => memory.allocate(...made),
    });
    for (const [i, { id }] of leaves.entries()) {
      const values = new Rng(1, `leaf ${i}`).normals(sizeOf(shape));
      plan.set(id, memory.upload(values, shape, 'f32'));
    }
    const read = ({ id }: Value) => memory.download(plan.get(id), shape, 'f32');
    return { plan, read };
  }

  test.each([0.3, 2])('the same as through the dispatcher, scaled by %d', (scale) => {
    const emitter = new TorchEmitter();
    const leaves = ['q', 'k', 'v'].map(() => emitter.leaf('f32'));
    const args = [...leaves.map(tensor), float(0), flag(true), none, some(float(scale))];
    const [expected] = emitter.emitMany(op, args, types);
    const results = emitter.emitNative('cpu', op, args, types);
    // The second result is not read, and freed.
    const { plan, read } = planOf(emitter, leaves, [expected!, results[0]!]);
    for (let i = 0; i < 2; i++) {
      plan.clearResults();
      plan.runAtOnce();
    }
    expect(read(results[0]!)).toEqual(read(expected!));
    expect(emitter.emitNative('cpu', op, args, types)).toBe(results);
  });

  test('what libtorch does not have, and what fails in it, is named', () => {
    const emitter = new TorchEmitter();
    const leaves = ['q', 'k'].map(() => emitter.leaf('f32'));
    const [missing] = emitter.emitNative('cpu', '_no_such_operation', leaves.map(tensor), ['f32']);
    expect(() => planOf(emitter, leaves, [missing!])).toThrow(
      'internal: libtorch has no aoti_torch_cpu__no_such_operation',
    );
    const other = new TorchEmitter();
    const heads = ['q', 'k', 'v'].map(() => other.leaf('f32'));
    // It has no dropout.
    const args = [...heads.map(tensor), float(0.5), flag(false), none, none];
    const [out] = other.emitNative('cpu', op, args, types);
    expect(() => planOf(other, heads, [out!]).plan.runAtOnce()).toThrow(
      /internal: libtorch: aten::_scaled_dot_product_flash_attention_for_cpu: .*dropout/,
    );
  });
});
