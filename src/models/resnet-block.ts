/** @file The residual block of the UNet and the VAE (diffusers: ResnetBlock2D). */

import type { Node } from '../graph/ops.ts';
import { conv2d, groupNorm, type Scope } from './layers.ts';

export interface ResnetOptions {
  readonly epsilon: number;
  /** What the time embedding adds to each channel of a block, [n, out]; the VAE has none. */
  readonly shift?: (s: Scope) => Node;
}

/** x [n, in, h, w] to [n, out, h, w]. */
export function resnetBlock(s: Scope, x: Node, { epsilon, shift }: ResnetOptions): Node {
  const { g } = s;
  let h = conv2d(s, 'conv1', g.silu(groupNorm(s, 'norm1', x, epsilon)), { padding: 1 });
  if (shift) {
    const perChannel = shift(s);
    h = g.add(h, g.reshape(perChannel, [...perChannel.shape, 1, 1]));
  }
  h = conv2d(s, 'conv2', g.silu(groupNorm(s, 'norm2', h, epsilon)), { padding: 1 });
  const shortcut = s.has('conv_shortcut.weight') ? conv2d(s, 'conv_shortcut', x) : x;
  return g.add(shortcut, h);
}
