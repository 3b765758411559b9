/** @file The attention block of the UNet (diffusers: Transformer2DModel, BasicTransformerBlock). */

import type { Node } from '../graph/ops.ts';
import { countAt, groupNorm, layerNorm, linear, type Scope, toPixels, toTokens } from './layers.ts';

/** Epsilon of the norm before the tokens; that of the UNet's other group norms is 1e-5. */
const normEpsilon = 1e-6;

/** x [n, s, c] attends to `context` [n, t, d]. */
function crossAttention(s: Scope, x: Node, context: Node, heads: number): Node {
  const q = linear(s, 'to_q', x);
  const k = linear(s, 'to_k', context);
  const v = linear(s, 'to_v', context);
  const scale = 1 / Math.sqrt(q.shape[2]! / heads);
  return linear(s, 'to_out.0', s.g.attention(q, k, v, { heads, scale, causal: false }));
}

/** GEGLU (Shazeer 2020, arXiv:2002.05202), then back to c channels; x [n, s, c]. */
function feedForward(s: Scope, x: Node): Node {
  const { g } = s;
  const both = linear(s, 'net.0.proj', x);
  const inner = both.shape[2]! / 2;
  const values = g.sliceAxis(both, 2, 0, inner);
  const gates = g.sliceAxis(both, 2, inner, 2 * inner);
  return linear(s, 'net.2', g.mul(values, g.gelu(gates)));
}

function transformerBlock(s: Scope, x: Node, context: Node, heads: number): Node {
  const { g } = s;
  const self = layerNorm(s, 'norm1', x);
  const a = g.add(crossAttention(s.at('attn1'), self, self, heads), x);
  const b = g.add(crossAttention(s.at('attn2'), layerNorm(s, 'norm2', a), context, heads), a);
  return g.add(feedForward(s.at('ff'), layerNorm(s, 'norm3', b)), b);
}

/**
 * x [n, c, h, w] with the text's `context` [n, t, d] to [n, c, h, w]. proj_in and proj_out may be
 * 1x1 convolutions, as in SD 1.x, or linear.
 */
export function transformer2d(s: Scope, x: Node, context: Node, heads: number): Node {
  const { g } = s;
  const [, , height, width] = x.shape as [number, number, number, number];
  let tokens = linear(s, 'proj_in', toTokens(g, groupNorm(s, 'norm', x, normEpsilon)));
  const blocks = countAt(s, 'transformer_blocks', 'norm1.weight');
  for (let i = 0; i < blocks; i++) {
    tokens = transformerBlock(s.at(`transformer_blocks.${i}`), tokens, context, heads);
  }
  return g.add(toPixels(g, linear(s, 'proj_out', tokens), height, width), x);
}
