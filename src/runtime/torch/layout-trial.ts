/**
 * @file Whether images and kernels are kept with their channels innermost on this GPU. Tensor cores want
 * them so, but libtorch's group norms do not (aten/src/ATen/native/group_norm.cpp: contiguous on CUDA):
 * either each norm's input and output are copied to the other order, or cuDNN does that around each
 * convolution. Which is faster is seen on two pairs of blocks like those of a UNet.
 */

import { grad } from '../../graph/autodiff/grad.ts';
import { GraphBuilder } from '../../graph/graph-builder.ts';
import type { Node } from '../../graph/ops.ts';
import { type TrialPlace, tryGraph } from './graph-trial.ts';

/** Images, channels and side of SD 1.5's blocks at 512 pixels: the largest images, and many channels. */
const blocks = [
  [2, 320, 64],
  [2, 1280, 16],
] as const;
/** The other order has to gain more than the noise of a trial. */
const clearly = 1.05;
const groups = 32;
const epsilon = 1e-5;

/** norm, SiLU and convolution, as in a residual block. */
function half(g: GraphBuilder, x: Node, channels: number, name: string): Node {
  const parameter = (what: string, ...shape: number[]) => g.parameter(`${name}.${what}`, shape);
  const [scale, bias] = [parameter('scale', channels), parameter('bias', channels)];
  const normed = g.silu(g.groupNorm(x, scale, bias, groups, epsilon));
  return g.conv2d(normed, parameter('kernel', channels, channels, 3, 3), undefined, { padding: 1 });
}

/** The sums of the images' gradients over batch and pixels, by the width of a block. */
export function trialGraph(shapes: readonly (readonly [number, number, number])[]) {
  const g = new GraphBuilder();
  const outputs: Record<string, Node> = {};
  for (const [n, channels, side] of shapes) {
    const name = `x${channels}`;
    const x = g.input(name, [n, channels, side, side]);
    const inner = half(g, x, channels, `${name}.1`);
    const y = g.add(x, half(g, inner, channels, `${name}.2`));
    const [dx] = grad(g, g.sum(g.square(y), [0, 1, 2, 3]), [x]);
    outputs[name] = g.sum(dx!, [0, 2, 3]);
  }
  return g.build(outputs);
}

/** True where the order with channels innermost is the faster one, or where that cannot be seen. */
export function prefersChannelsLast(place: TrialPlace): boolean {
  const milliseconds = (channelsLast: boolean) =>
    tryGraph({ ...place, target: { ...place.target, channelsLast } }, trialGraph(blocks))
      .milliseconds;
  try {
    return milliseconds(true) <= clearly * milliseconds(false);
  } catch {
    return true;
  }
}
