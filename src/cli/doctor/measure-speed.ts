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

const matmulSize = { small: 1024, large: 4096, huge: 8192 } as const;
const convolution = { channels: 320, side: 64, kernel: 3 } as const;
const convolutionBatch = { small: 1, large: 8, huge: 32 } as const;

type Extent = keyof typeof matmulSize;

function matmulWork(extent: Extent): Workload {
  const n = matmulSize[extent];
  return {
    weight: [n, n],
    input: [n, n],
    flops: 2 * n ** 3,
    apply: (g, x, weight) => g.matmul(x, weight),
  };
}

function convolutionWork(extent: Extent): Workload {
  const { channels, side, kernel } = convolution;
  const batch = convolutionBatch[extent];
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

/** Each is run until this much time has passed, and twice unless once took longer; the fastest run counts. */
const secondsEach = 0.3;
/** A chain is to take this long, so that what a run costs besides is little. */
const secondsPerRun = 0.03;
const longestChain = 64;

async function fastestRun(executor: Executor, graph: Graph): Promise<number> {
  const executable = await executor.compile(graph);
  let best = Number.POSITIVE_INFINITY;
  const start = performance.now();
  const within = (seconds: number) => performance.now() - start < seconds * 1000;
  for (let runs = 0; runs === 0 || within(runs === 1 ? 2 * secondsEach : secondsEach); runs++) {
    const before = performance.now();
    const { sum } = await executable.run({});
    // Read: an executor may wait for the device only then.
    if (sum!.data.length !== 1) throw new Error('internal: a sum of several numbers');
    best = Math.min(best, (performance.now() - before) / 1000);
  }
  await executable.dispose();
  return best;
}

type Create = (parameters: ParameterSource) => Promise<Executor> | Executor;

/** Operations a second. */
async function rateOf(work: Workload, create: Create): Promise<number> {
  const executor = await create(randomParameters(work));
  try {
    const one = await fastestRun(executor, chain(work, 1));
    const length = Math.min(longestChain, Math.round(secondsPerRun / one));
    const seconds = length < 2 ? one : (await fastestRun(executor, chain(work, length))) / length;
    return work.flops / seconds;
  } finally {
    await executor.dispose();
  }
}

/** What a device does that is to be measured with a larger workload, in operations a second. */
const larger = [
  ['large', 1e12],
  ['huge', 1e14],
] as const;

/** The small workload alone keeps a fast device busy for too short a time. */
async function bestRate(work: (extent: Extent) => Workload, create: Create): Promise<number> {
  let rate = await rateOf(work('small'), create);
  for (const [extent, least] of larger) {
    if (rate < least) break;
    rate = Math.max(rate, await rateOf(work(extent), create));
  }
  return rate / 1e9;
}

/** Measures for a second or two. */
export async function measureSpeed(create: Create): Promise<Speed> {
  return {
    matmul: await bestRate(matmulWork, create),
    convolution: await bestRate(convolutionWork, create),
  };
}
