/** @file The attention block of the UNet (diffusers: Transformer2DModel, BasicTransformerBlock). */

import type { Node } from '../graph/ops.ts';
import {
  countAt,
  groupNorm,
  layerNorm,
  linear,
  linears,
  type Scope,
  toPixels,
  toTokens,
} from './layers.ts';

/** Epsilon of the norm before the tokens; that of the UNet's other group norms is 1e-5. */
const normEpsilon = 1e-6;

/** What attention compares and mixes: q [n, s, c], k and v [n, t, c]. */
type Projections = readonly [q: Node, k: Node, v: Node];

/** Attention and the layer after it, [n, s, c]. */
function attend(s: Scope, [q, k, v]: Projections, heads: number): Node {
  const scale = 1 / Math.sqrt(q.shape[2]! / heads);
  return linear(s, 'to_out.0', s.g.attention(q, k, v, { heads, scale, causal: false }));
}

/** x [n, s, c] attends to itself. */
function selfAttention(s: Scope, x: Node, heads: number): Node {
  const projections = linears(s, ['to_q', 'to_k', 'to_v'], x) as [Node, Node, Node];
  return attend(s, projections, heads);
}

/** x [n, s, c] attends to the text. */
function crossAttention(s: Scope, x: Node, text: TextProjections, heads: number): Node {
  return attend(s, [linear(s, 'to_q', x), ...text(s)], heads);
}

/** The keys and values [n, t, c] of the text in the cross-attention of a scope. */
export type TextProjections = (s: Scope) => readonly [k: Node, v: Node];

/**
 * Keys and values of all cross-attentions of a UNet. Where layers are joined, those of one size are one
 * product at the beginning: all blocks see the same text.
 */
export function textProjections(s: Scope, context: Node): TextProjections {
  if (!s.joinsLayers) return (at) => [linear(at, 'to_k', context), linear(at, 'to_v', context)];
  const bySize = new Map<number, string[]>();
  for (const layer of ['attn2.to_k', 'attn2.to_v']) {
    for (const block of s.endingWith(`.${layer}.weight`)) {
      const path = `${block}.${layer}`;
      const size = s.shape(`${path}.weight`)[0]!;
      bySize.set(size, [...(bySize.get(size) ?? []), path]);
    }
  }
  const found = new Map(
    [...bySize.values()].flatMap((paths) =>
      linears(s, paths, context).map((node, i) => [s.nameOf(paths[i]!), node] as const),
    ),
  );
  return (at) => [found.get(at.nameOf('to_k'))!, found.get(at.nameOf('to_v'))!];
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

function transformerBlock(s: Scope, x: Node, text: TextProjections, heads: number): Node {
  const { g } = s;
  const self = layerNorm(s, 'norm1', x);
  const a = g.add(selfAttention(s.at('attn1'), self, heads), x);
  const b = g.add(crossAttention(s.at('attn2'), layerNorm(s, 'norm2', a), text, heads), a);
  return g.add(feedForward(s.at('ff'), layerNorm(s, 'norm3', b)), b);
}

/**
 * x [n, c, h, w] with what is made of the text to [n, c, h, w]. proj_in and proj_out may be 1x1
 * convolutions, as in SD 1.x, or linear.
 */
export function transformer2d(s: Scope, x: Node, text: TextProjections, heads: number): Node {
  const { g } = s;
  const [, , height, width] = x.shape as [number, number, number, number];
  let tokens = linear(s, 'proj_in', toTokens(g, groupNorm(s, 'norm', x, normEpsilon)));
  const blocks = countAt(s, 'transformer_blocks', 'norm1.weight');
  for (let i = 0; i < blocks; i++) {
    tokens = transformerBlock(s.at(`transformer_blocks.${i}`), tokens, text, heads);
  }
  return g.add(toPixels(g, linear(s, 'proj_out', tokens), height, width), x);
}
