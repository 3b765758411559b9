/** @file The networks of a family as graph parts, with the sizes that its configuration gives. */

import type { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Node } from '../../src/graph/ops.ts';
import { textContext } from '../../src/models/clip-text-model.ts';
import { type Adapter, networkScope, type Scope } from '../../src/models/layers.ts';
import { timestepEmbedding } from '../../src/models/timestep-embedding.ts';
import { unet } from '../../src/models/unet.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import type { Family } from './family.ts';

export function scopeOf(
  g: GraphBuilder,
  { checkpoint }: Family,
  network: 'unet' | 'text_encoder' | 'vae',
  adapter?: Adapter,
): Scope {
  return networkScope(g, checkpoint.shapes, network, { adapter });
}

/** Channels of the sinusoidal time embedding. */
const timeChannels = ({ checkpoint }: Family) => checkpoint.sizes.unet.channels[0]!;

/** What the input `timeProj` is fed. */
export function timeProjection(
  family: Family,
  timesteps: readonly number[],
): { readonly timeProj: Tensor<'f32'> } {
  return { timeProj: timestepEmbedding(timesteps, timeChannels(family)) };
}

/** The context of ids [n, 77]. */
export function contextOf(g: GraphBuilder, family: Family, ids: Node, adapter?: Adapter): Node {
  const scope = scopeOf(g, family, 'text_encoder', adapter);
  return textContext(scope, ids, { heads: family.config.textHeads });
}

export interface PredictionOptions {
  readonly adapter?: Adapter;
  readonly tap?: (name: string, value: Node) => void;
}

/** The UNet's output for latents [n, 4, h, w]; it makes the input `timeProj`. */
export function predictionOf(
  g: GraphBuilder,
  family: Family,
  latents: Node,
  context: Node,
  { adapter, tap }: PredictionOptions = {},
): Node {
  const timeProj = g.input('timeProj', [latents.shape[0]!, timeChannels(family)]);
  const heads = () => family.config.unetHeads;
  return unet(
    scopeOf(g, family, 'unet', adapter),
    { latents, timeProj, context },
    { heads, ...(tap ? { tap } : {}) },
  );
}
