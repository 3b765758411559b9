/**
 * @file Which of our own kernels are of use on this GPU: each kind computes what libtorch computes too, on
 * values like those of a UNet. It has to give the same and not to be slower.
 */

import { grad } from '../../graph/autodiff/grad.ts';
import { GraphBuilder } from '../../graph/graph-builder.ts';
import type { Graph, Node } from '../../graph/ops.ts';
import { OutOfMemoryError } from '../executor.ts';
import { compareRuns } from './agreement.ts';
import { type TrialPlace, tryGraph } from './graph-trial.ts';
import { type OwnKernel, ownKernels } from './rules/rule.ts';

/**
 * Side and channels of SD 1.5's largest blocks at 512 pixels, and so many images that a GPU takes longer for them
 * than the host for its calls: 84 MB of 16-bit floats in the smallest value.
 */
const trialSizes: { readonly [K in OwnKernel]: TrialSize } = {
  geglu: { images: 8, side: 64, channels: 320 },
  layerNorm: { images: 32, side: 64, channels: 320 },
  groupNorm: { images: 32, side: 64, channels: 320 },
  pointwise: { images: 4, side: 64, channels: 1024 },
};

/** How much longer than libtorch's ours may take in a trial, which other programs disturb: they hold less memory. */
const tolerated = 1.1;

interface TrialSize {
  readonly images: number;
  readonly side: number;
  readonly channels: number;
}

const groups = 32;
const epsilon = 1e-5;
/** Of GEGLU, times the channels. */
const expansion = 4;

type Build = (g: GraphBuilder, size: TrialSize) => { readonly x: Node; readonly y: Node };

const perChannel = (g: GraphBuilder, channels: number) =>
  [g.parameter('scale', [channels]), g.parameter('bias', [channels])] as const;

/** One image comes from the host; the device has it many times. */
function repeated(g: GraphBuilder, name: string, images: number, ...shape: number[]): Node {
  const one = g.input(name, [1, ...shape]);
  return g.concat(new Array<Node>(images).fill(one), 0);
}

const builds: { readonly [K in OwnKernel]: Build } = {
  geglu: (g, { images, side, channels }) => {
    const columns = expansion * channels;
    const x = repeated(g, 'x', images, side * side, 2 * columns);
    const half = (i: number) => g.sliceAxis(x, 2, i * columns, (i + 1) * columns);
    return { x, y: g.mul(half(0), g.gelu(half(1))) };
  },
  layerNorm: (g, { images, side, channels }) => {
    const x = repeated(g, 'x', images, side * side, channels);
    const sum = g.add(x, repeated(g, 'other', images, side * side, channels));
    const y = g.add(g.layerNorm(sum, ...perChannel(g, channels), epsilon), sum);
    return { x, y };
  },
  groupNorm: (g, { images, side, channels }) => {
    // Images come from convolutions and go to them: in their layout. Sums of so many products as an image has
    // channels are kept near one: the gradient, which goes through three, would leave the range of f16.
    const kernel = (name: string) =>
      g.scale(g.parameter(name, [channels, channels, 1, 1]), 1 / Math.sqrt(channels));
    const x = repeated(g, 'x', images, channels, side, side);
    const image = g.conv2d(x, kernel('before'));
    const normed = g.silu(g.groupNorm(image, ...perChannel(g, channels), groups, epsilon));
    return { x, y: g.add(image, g.conv2d(normed, kernel('after'))) };
  },
  pointwise: (g, { images, side, channels }) => {
    const size = images * side * side * channels;
    const x = g.reshape(repeated(g, 'x', images, side * side * channels), [size]);
    // As a moment and a step along it.
    const moment = g.add(g.scale(x, 0.9), g.scale(g.square(x), 0.1));
    const root = g.add(g.sqrt(g.square(moment)), g.constant(1));
    return { x, y: g.sub(x, g.div(moment, root)) };
  },
};

/** The result and the gradient of x, of the last image: sums of them all would be too large for f16. */
export function kernelTrialGraph(kernel: OwnKernel, size: TrialSize): Graph {
  const g = new GraphBuilder();
  const { x, y } = builds[kernel](g, size);
  const [dx] = grad(g, g.sum(g.square(y), [...y.shape.keys()]), [x]);
  const last = (node: Node) => {
    const rows = node.shape[0]!;
    return g.sliceAxis(node, 0, rows - rows / size.images, rows);
  };
  return g.build({ y: last(y), dx: last(dx!) });
}

/** What a kind of kernel came to. */
export interface KernelTrial {
  readonly kernel: OwnKernel;
  /** Milliseconds of a run without it, and with it. */
  readonly without: number;
  readonly with: number;
  readonly agrees: boolean;
}

/** Both ways for one kind; @throws where the device does not do it */
export function tryKernel(
  place: TrialPlace,
  kernel: OwnKernel,
  size: TrialSize = trialSizes[kernel],
): KernelTrial {
  const graph = kernelTrialGraph(kernel, size);
  const run = (kernels: ReadonlySet<OwnKernel>) =>
    tryGraph({ ...place, target: { ...place.target, kernels } }, graph);
  const without = run(new Set());
  const own = run(new Set([kernel]));
  return {
    kernel,
    without: without.milliseconds,
    with: own.milliseconds,
    agrees: compareRuns(without.results, own.results) === 'same',
  };
}

/** With fewer images where the device has no memory for them. */
function tryWithRoom(place: TrialPlace, kernel: OwnKernel, size: TrialSize): KernelTrial {
  try {
    return tryKernel(place, kernel, size);
  } catch (error) {
    const images = Math.floor(size.images / 4);
    if (!(error instanceof OutOfMemoryError) || images === 0) throw error;
    return tryWithRoom(place, kernel, { ...size, images });
  }
}

/**
 * The kinds that give the same and are not slower.
 * @param refused told why of each that does not work or gives something else
 */
export function usefulKernels(
  place: TrialPlace,
  refused: (kernel: OwnKernel, reason: string) => void,
  size?: TrialSize,
): ReadonlySet<OwnKernel> {
  const useful = [...ownKernels].filter((kernel) => {
    try {
      const trial = tryWithRoom(place, kernel, size ?? trialSizes[kernel]);
      if (!trial.agrees) refused(kernel, 'ours gave something else');
      return trial.agrees && trial.with < tolerated * trial.without;
    } catch (error) {
      const isLack = error instanceof OutOfMemoryError;
      refused(kernel, isLack ? 'there was no memory to try ours' : (error as Error).message);
      return false;
    }
  });
  return new Set(useful);
}
