/** @file Runs a small graph on a device with made-up values, to see whether it works, what it gives and how fast. */

import type { Graph } from '../../graph/ops.ts';
import { runPasses } from '../../graph/passes/run-passes.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { channelsLastStrides, type DeviceMemory } from './device-memory.ts';
import type { GraphMaker, LaunchableGraph } from './graph-pool.ts';
import type { KernelLauncher } from './kernels/kernel.ts';
import { type LeafValue, type LoweredGraph, lowerGraph } from './lower-graph.ts';
import { Plan } from './plan.ts';
import { timeOf } from './replay-clock.ts';
import type { LoweringTarget } from './rules/rule.ts';
import type { TorchLibrary } from './torch-library.ts';

/** Runs before a capture: libraries choose their kernels in the first two. */
const plainRuns = 2;

export interface TrialDevice {
  readonly library: TorchLibrary;
  readonly memory: DeviceMemory;
  /** What runs kernels of ours, where the target has any. */
  readonly launcher?: KernelLauncher | undefined;
  /** Captures the calls, so that it is the device's time that counts, not the host's for its calls. */
  readonly graphs?: GraphMaker | undefined;
}

export interface TrialPlace extends TrialDevice {
  readonly target: LoweringTarget;
}

export interface GraphTrial {
  /** Of one run. */
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

/** A graph whose values are on the device, to be tried for one target after the other. */
export class OpenTrial {
  readonly #device: TrialDevice;
  readonly #graph: Graph;
  /** Handles of leaves, which all targets share. */
  readonly #leaves = new Map<string, number>();
  readonly #tick: number;

  constructor(device: TrialDevice, graph: Graph) {
    this.#device = device;
    this.#graph = runPasses(graph);
    this.#tick = device.memory.upload([0], [1], 'f32');
  }

  /** @throws where the device does not do it */
  run(target: LoweringTarget): GraphTrial {
    const { library, memory, launcher, graphs } = this.#device;
    const lowered = lowerGraph(this.#graph, target, library);
    const { leaves, constants, outputs } = lowered;
    const plan = new Plan(library, {
      ...lowered,
      fixed: [...leaves, ...constants].map(({ value }) => value.id),
      results: outputs.map(({ value }) => value.id),
      productSums: target.addsProducts ? library.productSums(memory.deviceKind) : undefined,
      launcher,
      allocate: (...tensor) => memory.allocate(...tensor),
    });
    const own: number[] = [];
    const run = () => {
      plan.clear();
      plan.clearResults();
      plan.runAtOnce();
    };
    let captured: LaunchableGraph | undefined;
    try {
      this.#fill(plan, lowered, target, own);
      for (let i = 0; i < plainRuns; i++) run();
      this.#wait();
      const made = graphs?.capture(run);
      // Without a graph the host's calls are timed with the work.
      captured = typeof made === 'object' ? made : undefined;
      const milliseconds = timeOf(
        () => (captured ? captured.launch() : run()),
        () => this.#wait(),
      );
      const results = outputs.map(({ value, shape }) =>
        memory.download(plan.get(value.id), shape, 'f32'),
      );
      return { milliseconds, results };
    } finally {
      plan.clear();
      plan.clearResults();
      captured?.dispose();
      for (const handle of own) memory.free(handle);
      plan.dispose();
    }
  }

  close(): void {
    const { memory } = this.#device;
    for (const handle of this.#leaves.values()) memory.free(handle);
    this.#leaves.clear();
    memory.free(this.#tick);
  }

  /** What is read is waited for, and all before it. */
  #wait(): void {
    this.#device.memory.download(this.#tick, [1], 'f32');
  }

  #fill(plan: Plan, lowered: LoweredGraph, target: LoweringTarget, own: number[]): void {
    for (const [i, leaf] of lowered.leaves.entries()) {
      plan.set(leaf.value.id, this.#leaf(leaf, i, target));
    }
    for (const { value, shape, values } of lowered.constants) {
      const handle = this.#device.memory.upload(values, shape, value.dtype);
      own.push(handle);
      plan.set(value.id, handle);
    }
  }

  #leaf({ source, name, shape, value }: LeafValue, seed: number, target: LoweringTarget): number {
    const isKernel = source === 'parameter' && target.channelsLast && shape.length === 4;
    const key = `${source} ${name} ${value.dtype} ${isKernel}`;
    const known = this.#leaves.get(key);
    if (known !== undefined) return known;
    const strides = isKernel ? channelsLastStrides(shape) : undefined;
    const values = scattered(sizeOf(shape), seed);
    const handle = this.#device.memory.upload(values, shape, value.dtype, strides);
    this.#leaves.set(key, handle);
    return handle;
  }
}

/** @throws where the device does not do it */
export function tryGraph({ target, ...device }: TrialPlace, graph: Graph): GraphTrial {
  const trial = new OpenTrial(device, graph);
  try {
    return trial.run(target);
  } finally {
    trial.close();
  }
}
