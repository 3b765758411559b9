/** @file The networks of a family as graph parts, and what a golden file feeds them. */

import type { GraphBuilder } from '../../src/graph/graph-builder.ts';
import { type Adapter, networkScope, type Scope } from '../../src/models/layers.ts';
import type { TextEncoderKind, TextNodes } from '../../src/models/model-family.ts';
import {
  encodedText,
  endRowsOf,
  idsInput,
  type PictureFrame,
  unetFeeds,
} from '../../src/models/networks.ts';
import { i32, type Tensor } from '../../src/tensor/tensor.ts';
import type { Family } from './family.ts';
import type { GoldenFile } from './golden-file.ts';

export function scopeOf(
  g: GraphBuilder,
  { model }: Family,
  network: TextEncoderKind['network'] | 'unet' | 'vae',
  adapter?: Adapter,
): Scope {
  return networkScope(g, model.shapes, network, { adapter, joinsLayers: model.joinsLayers });
}

/** The token ids in a file, [n, 1, 77] for each text encoder, and where captions end. */
export function tokenFeeds(
  { model: { family } }: Family,
  file: GoldenFile,
  prefix = '',
  suffix = '',
): Record<string, Tensor<'i32'>> & { readonly ids: Tensor<'i32'> } {
  const feeds: Record<string, Tensor<'i32'>> = {};
  for (const [i, { network }] of family.textEncoders.entries()) {
    const { shape, data } = file.i32(`${prefix}te${i + 1}.ids${suffix}`);
    const ids = i32([shape[0]!, 1, shape[1]!], data);
    feeds[idsInput(network)] = ids;
    if (network === family.pooledFrom) feeds['endRows'] = endRowsOf(ids);
  }
  return feeds as typeof feeds & { readonly ids: Tensor<'i32'> };
}

/** The text of `tokenFeeds`, encoded. */
export function textOf(
  g: GraphBuilder,
  { model }: Family,
  ids: Tensor<'i32'>,
  adapter?: Adapter,
): TextNodes {
  const shape = { batch: ids.shape[0]!, chunks: 1 };
  return encodedText(g, model, shape, { clipSkip: 1, adapter });
}

/** Rows of six numbers as frames, in the order in which the files hold them. */
function framesOf(rows: readonly number[]): PictureFrame[] {
  return Array.from({ length: rows.length / 6 }, (_, i) => {
    const numbers = rows.slice(6 * i, 6 * i + 6);
    return {
      originalHeight: numbers[0]!,
      originalWidth: numbers[1]!,
      cropTop: numbers[2]!,
      cropLeft: numbers[3]!,
      targetHeight: numbers[4]!,
      targetWidth: numbers[5]!,
    };
  });
}

/**
 * What the UNet is fed beside latents and text.
 * @param timeIds name of the sizes in the file, where the family has them
 */
export function conditionFeeds(
  { model }: Family,
  timesteps: readonly number[],
  file: GoldenFile,
  timeIds: string,
): Record<string, Tensor<'f32'>> {
  const frames = file.has(timeIds) ? framesOf(file.values(timeIds)) : [];
  const repeated = timesteps.map((_, i) => frames[i % frames.length]!);
  return unetFeeds(model, timesteps, frames.length === 0 ? [] : repeated);
}

/** A file's finished text as the UNet's inputs. */
export function fedTextOf(
  file: GoldenFile,
  path: string,
  suffix = '',
): { readonly context: Tensor<'f32'>; readonly pooled?: Tensor<'f32'> } {
  const context = file.f32(`${path}context${suffix}`);
  const pooled = `${path}pooled${suffix}`;
  return file.has(pooled) ? { context, pooled: file.f32(pooled) } : { context };
}

/** Text and UNet inputs as nodes, for a batch that is fed. */
export function textInputs(g: GraphBuilder, text: ReturnType<typeof fedTextOf>): TextNodes {
  const context = g.input('context', text.context.shape);
  return text.pooled ? { context, pooled: g.input('pooled', text.pooled.shape) } : { context };
}
