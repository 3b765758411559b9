/**
 * @file Layers that share their input, and so are computed as one: a product by all their weights, one
 * below the other.
 */

import type { Shape } from '../tensor/shape.ts';

/** The projections of one attention, by their last names. */
const selfAttention = /^(.*\.(?:attn1|self_attn))\.(?:to_[qkv]|[qkv]_proj)$/;
/** What all blocks of the UNet make of one text. */
const ofContext = /^unet\..*\.attn2\.to_[kv]$/;

/**
 * A name for the layers that the layer at `path` is computed with, such as
 * `unet.mid_block.attentions.0.transformer_blocks.0.attn1`; null where it is on its own.
 *
 * @param shape of its weight, [out, in]
 */
export function joinOf(path: string, shape: Shape): string | null {
  if (ofContext.test(path)) return `context ${shape}`;
  return selfAttention.exec(path)?.[1] ?? null;
}

/** The order in which joined layers lie below one another. */
export const inJoinOrder = (paths: readonly string[]): string[] => [...paths].sort();
