/** @file Runs a small graph on a device with made-up values, to see whether it works, what it gives and how fast. */

import type { Graph } from '../../graph/ops.ts';
import { runPasses } from '../../graph/passes/run-passes.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { channelsLastStrides, type DeviceMemory } from './device-memory.ts';
import type { KernelLauncher } from './kernels/kernel.ts';
import { lowerGraph } from './lower-graph.ts';
import { Plan } from './plan.ts';
import type { LoweringTarget } from './rules/rule.ts';
import type { TorchLibrary } from './torch-library.ts';

/** Runs that are timed; as many, not timed, come before. */
const timedRuns = 4;

export interface TrialPlace {
  readonly library: TorchLibrary;
  readonly memory: DeviceMemory;
  readonly target: LoweringTarget;
  /** What runs kernels of ours, where the target has any. */
  readonly launcher?: KernelLauncher | undefined;
}

export interface GraphTrial {
  /** Of all timed runs. */
  readonly milliseconds: number;
  /** The outputs. */
  readonly results: readonly ArrayLike<number>[];
}

/** Values in [-1, 1) without a pattern that matters. */
function scattered(size: number, seed: number): Float32Array {
  const values = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    values[i] = (Math.imul(i + seed, 0x9e3779b1) >>> 8) / 2 ** 23 - 1;
  }
  return values;
}

/** @throws where the device does not do it */
export function tryGraph(place: TrialPlace, graph: Graph): GraphTrial {
  const { library, memory, target, launcher } = place;
  const { leaves, constants, outputs, ...lowered } = lowerGraph(runPasses(graph), target, library);
  const plan = new Plan(library, {
    ...lowered,
    fixed: [...leaves, ...constants].map(({ value }) => value.id),
    results: outputs.map(({ value }) => value.id),
    productSums: target.addsProducts ? library.productSums(memory.deviceKind) : undefined,
    launcher,
    allocate: (...tensor) => memory.allocate(...tensor),
  });
  const tick = memory.upload([0], [1], 'f32');
  const handles = [tick];
  const put = (id: number, handle: number) => {
    handles.push(handle);
    plan.set(id, handle);
  };
  const runs = (count: number) => {
    const begin = performance.now();
    for (let i = 0; i < count; i++) {
      plan.clearResults();
      plan.runAtOnce();
    }
    // What is read is waited for, and all before it.
    memory.download(tick, [1], 'f32');
    return performance.now() - begin;
  };
  try {
    for (const [i, { value, shape, source }] of leaves.entries()) {
      const isKernel = source === 'parameter' && target.channelsLast && shape.length === 4;
      const strides = isKernel ? channelsLastStrides(shape) : undefined;
      const values = scattered(sizeOf(shape), i);
      put(value.id, memory.upload(values, shape, value.dtype, strides));
    }
    for (const { value, shape, values } of constants) {
      put(value.id, memory.upload(values, shape, value.dtype));
    }
    runs(timedRuns);
    const milliseconds = runs(timedRuns);
    const results = outputs.map(({ value, shape }) =>
      memory.download(plan.get(value.id), shape, 'f32'),
    );
    return { milliseconds, results };
  } finally {
    plan.clear();
    plan.clearResults();
    for (const handle of handles) memory.free(handle);
    plan.dispose();
  }
}
