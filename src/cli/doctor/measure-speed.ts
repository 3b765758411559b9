/**
 * @file How fast an executor computes here: matrix products and convolutions of SD 1.5's size, one after
 * the other in one graph, so that neither uploads nor launches count.
 */

import { GraphBuilder } from '../../graph/graph-builder.ts';
import type { Graph, Node } from '../../graph/ops.ts';
import type { Executor, ParameterSource } from '../../runtime/executor.ts';
import { Rng } from '../../tensor/rng.ts';
import { type Shape, sizeOf } from '../../tensor/shape.ts';

/** Floating-point operations a second, in thousands of millions. */
export interface Speed {
  readonly matmul: number;
  readonly convolution: number;
}

/** What is computed, each multiplication and addition counted. */
interface Workload {
  readonly weight: Shape;
  readonly input: Shape;
  readonly flops: number;
  readonly apply: (g: GraphBuilder, x: Node, weight: Node) => Node;
}

const matmulSize = { processor: 1024, gpu: 4096 } as const;
const convolution = { channels: 320, side: 64, kernel: 3 } as const;
const convolutionBatch = { processor: 1, gpu: 8 } as const;

type Place = keyof typeof matmulSize;

function matmulWork(place: Place): Workload {
  const n = matmulSize[place];
  return {
    weight: [n, n],
    input: [n, n],
    flops: 2 * n ** 3,
    apply: (g, x, weight) => g.matmul(x, weight),
  };
}

function convolutionWork(place: Place): Workload {
  const { channels, side, kernel } = convolution;
  const batch = convolutionBatch[place];
  return {
    weight: [channels, channels, kernel, kernel],
    input: [batch, channels, side, side],
    flops: 2 * batch * channels ** 2 * kernel ** 2 * side ** 2,
    apply: (g, x, weight) => g.conv2d(x, weight, undefined, { padding: 1 }),
  };
}

/** So often in a row, with one number as the result. */
function chain({ weight, input, apply }: Workload, length: number): Graph {
  const g = new GraphBuilder();
  const factor = g.parameter('weight', weight);
  let x: Node = g.parameter('input', input);
  for (let i = 0; i < length; i++) x = apply(g, x, factor);
  return g.build({ sum: g.sum(x, [...input.keys()]) });
}

/** Values of one sign would be multiplied faster than others by a GPU; these keep their size, too. */
function randomParameters({ weight, input }: Workload): ParameterSource {
  const draw = (name: string, shape: Shape, bound: number) => {
    const few = new Rng(1, name);
    const block = Float32Array.from({ length: 10007 }, () => (2 * few.uniform() - 1) * bound);
    return Float32Array.from({ length: sizeOf(shape) }, (_, i) => block[i % block.length]!);
  };
  // A uniform draw in ±√(3/n) has the variance 1/n.
  const bound = Math.sqrt(3 / sizeOf(weight.slice(1)));
  return {
    read: (name) => (name === 'weight' ? draw(name, weight, bound) : draw(name, input, 1)),
  };
}

/** Each is run at least twice, and until this much time has passed; the fastest run counts. */
const secondsEach = 0.3;
/** A chain is to take this long, so that what a run costs besides is little. */
const secondsPerRun = 0.03;
const longestChain = 64;

async function fastestRun(executor: Executor, graph: Graph): Promise<number> {
  const executable = await executor.compile(graph);
  let best = Number.POSITIVE_INFINITY;
  const start = performance.now();
  for (let runs = 0; runs < 2 || performance.now() - start < secondsEach * 1000; runs++) {
    const before = performance.now();
    const { sum } = await executable.run({});
    // Read: an executor may wait for the device only then.
    if (sum!.data.length !== 1) throw new Error('internal: a sum of several numbers');
    best = Math.min(best, (performance.now() - before) / 1000);
  }
  await executable.dispose();
  return best;
}

async function rateOf(
  work: Workload,
  create: (parameters: ParameterSource) => Promise<Executor> | Executor,
): Promise<number> {
  const executor = await create(randomParameters(work));
  try {
    const one = await fastestRun(executor, chain(work, 1));
    const length = Math.min(longestChain, Math.round(secondsPerRun / one));
    const seconds = length < 2 ? one : (await fastestRun(executor, chain(work, length))) / length;
    return work.flops / seconds / 1e9;
  } finally {
    await executor.dispose();
  }
}

/** Measures for a second or two. */
export async function measureSpeed(
  create: (parameters: ParameterSource) => Promise<Executor> | Executor,
  place: Place,
): Promise<Speed> {
  return {
    matmul: await rateOf(matmulWork(place), create),
    convolution: await rateOf(convolutionWork(place), create),
  };
}
