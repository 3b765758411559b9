/** @file The residual block of the UNet and the VAE (diffusers: ResnetBlock2D). */

import type { Node } from '../graph/ops.ts';
import { conv2d, groupNorm, type Scope } from './layers.ts';

export interface ResnetOptions {
  readonly epsilon: number;
  /**
   * What the time embedding adds to each channel of a block, [n, out], with the bias of `conv1` where
   * layers are joined; the VAE has none.
   */
  readonly shift?: (s: Scope) => Node;
}

/**
 * x [n, in, h, w] to [n, out, h, w]. Where layers are joined, no convolution adds a bias that another
 * addition can take along: engines of that kind add it in a pass of its own.
 */
export function resnetBlock(s: Scope, x: Node, { epsilon, shift }: ResnetOptions): Node {
  const { g } = s;
  const hasShortcut = s.has('conv_shortcut.weight');
  const own = (path: string, isElsewhere: boolean) => (s.joinsLayers && isElsewhere ? [] : [path]);
  const norm = (path: string, y: Node) => g.silu(groupNorm(s, path, y, epsilon));
  const padding = 1;
  const first = own('conv1', shift !== undefined);
  let h = conv2d(s, 'conv1', norm('norm1', x), { padding }, first);
  if (shift) {
    const perChannel = shift(s);
    h = g.add(h, g.reshape(perChannel, [...perChannel.shape, 1, 1]));
  }
  h = conv2d(s, 'conv2', norm('norm2', h), { padding }, own('conv2', hasShortcut));
  const both = ['conv_shortcut', ...(s.joinsLayers ? ['conv2'] : [])];
  const shortcut = hasShortcut ? conv2d(s, 'conv_shortcut', x, {}, both) : x;
  return g.add(shortcut, h);
}
