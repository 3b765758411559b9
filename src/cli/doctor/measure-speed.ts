/** @file How fast ONNX Runtime computes here: one matrix product and one convolution of SD 1.5's size. */

import { GraphBuilder } from '../../graph/graph-builder.ts';
import type { Graph } from '../../graph/ops.ts';
import { createOnnxExecutor } from '../../runtime/onnx/onnx-executor.ts';
import { Rng } from '../../tensor/rng.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { f32 } from '../../tensor/tensor.ts';

/** Floating-point operations a second, in thousands of millions. */
export interface Speed {
  readonly matmul: number;
  readonly convolution: number;
}

/** The work of the two graphs, each multiplication and addition counted. */
const matmulSize = 1024;
const convolution = { channels: 320, side: 64, kernel: 3 } as const;

/** Each is run at least twice, and until this much time has passed; the fastest run counts. */
const secondsEach = 0.4;

function matmulGraph(): Graph {
  const g = new GraphBuilder();
  const shape = [matmulSize, matmulSize];
  return g.build({ out: g.matmul(g.input('a', shape), g.input('b', shape)) });
}

function convolutionGraph(): Graph {
  const g = new GraphBuilder();
  const { channels, side, kernel } = convolution;
  const x = g.input('a', [1, channels, side, side]);
  const weight = g.input('b', [channels, channels, kernel, kernel]);
  return g.build({ out: g.conv2d(x, weight, undefined, { padding: 1 }) });
}

async function fastest(graph: Graph, threads: number | undefined): Promise<number> {
  const executor = createOnnxExecutor({
    parameters: {
      read: (name) => {
        throw new Error(`internal: the graph has no parameter ${name}`);
      },
    },
    ...(threads === undefined ? {} : { threads }),
  });
  try {
    const executable = await executor.compile(graph);
    const feeds = Object.fromEntries(
      graph.nodes.flatMap((node) =>
        node.op === 'input'
          ? [
              [
                node.attrs.name,
                f32(node.shape, new Rng(1, node.attrs.name).normals(sizeOf(node.shape))),
              ],
            ]
          : [],
      ),
    );
    let best = Number.POSITIVE_INFINITY;
    const start = performance.now();
    for (let runs = 0; runs < 2 || performance.now() - start < secondsEach * 1000; runs++) {
      const before = performance.now();
      await executable.run(feeds);
      best = Math.min(best, (performance.now() - before) / 1000);
    }
    return best;
  } finally {
    await executor.dispose();
  }
}

/** Measures for about a second. */
export async function measureSpeed(threads?: number): Promise<Speed> {
  const { channels, side, kernel } = convolution;
  const matmulWork = 2 * matmulSize ** 3;
  const convolutionWork = 2 * channels ** 2 * kernel ** 2 * side ** 2;
  return {
    matmul: matmulWork / (await fastest(matmulGraph(), threads)) / 1e9,
    convolution: convolutionWork / (await fastest(convolutionGraph(), threads)) / 1e9,
  };
}
