/** @file The residual block of the UNet and the VAE (diffusers: ResnetBlock2D). */

import type { Node } from '../graph/ops.ts';
import { conv2d, groupNorm, linear, type Scope } from './layers.ts';

export interface ResnetOptions {
  readonly epsilon: number;
  /** silu of the time embedding, [n, 4·c0]; the VAE has none. */
  readonly time?: Node;
}

/** x [n, in, h, w] to [n, out, h, w]. */
export function resnetBlock(s: Scope, x: Node, { epsilon, time }: ResnetOptions): Node {
  const { g } = s;
  let h = conv2d(s, 'conv1', g.silu(groupNorm(s, 'norm1', x, epsilon)), { padding: 1 });
  if (time) {
    const shift = linear(s, 'time_emb_proj', time);
    h = g.add(h, g.reshape(shift, [...shift.shape, 1, 1]));
  }
  h = conv2d(s, 'conv2', g.silu(groupNorm(s, 'norm2', h, epsilon)), { padding: 1 });
  const shortcut = s.has('conv_shortcut.weight') ? conv2d(s, 'conv_shortcut', x) : x;
  return g.add(shortcut, h);
}
