/** @file Reads the sizes of an SD 1.x model off the shapes in its checkpoint. */

import type { Shape } from '../../tensor/shape.ts';
import { UserError } from '../../tensor/user-error.ts';
import type { TensorEntries } from '../file-kind.ts';
import type { TextSizes, UnetSizes, VaeSizes } from './sizes.ts';

/** The tensors below one prefix of a file. */
interface Part {
  has(key: string): boolean;
  /** @throws UserError where it is missing or has another number of dimensions */
  shape(key: string, dimensions: number): Shape;
}

function partOf(entries: TensorEntries, path: string, prefix: string): Part {
  return {
    has: (key) => entries.has(prefix + key),
    shape: (key, dimensions) => {
      const shape = entries.get(prefix + key)?.shape;
      if (shape?.length === dimensions) return shape;
      throw new UserError(
        `${path}: the tensor ${prefix}${key} ${shape ? `has the shape [${shape}]` : 'is missing'}, so this is no ` +
          'complete SD 1.x checkpoint; use a whole one, as web UIs load it',
      );
    },
  };
}

function count(has: (i: number) => boolean): number {
  let n = 0;
  while (has(n)) n++;
  return n;
}

const range = (n: number) => Array.from({ length: n }, (_, i) => i);

/** @throws UserError where a tensor that tells a size is missing */
export function inferUnetSizes(entries: TensorEntries, path: string): UnetSizes {
  const unet = partOf(entries, path, 'model.diffusion_model.');
  const blocks = count(
    (n) =>
      unet.has(`input_blocks.${n}.0.weight`) ||
      unet.has(`input_blocks.${n}.0.op.weight`) ||
      unet.has(`input_blocks.${n}.0.in_layers.2.weight`),
  );
  const downsamplers = range(blocks).filter((n) => unet.has(`input_blocks.${n}.0.op.weight`));
  const layersPerBlock = (downsamplers[0] ?? blocks) - 1;
  const first = (level: number) => `input_blocks.${(layersPerBlock + 1) * level + 1}`;
  const levels = range(downsamplers.length + 1);
  return {
    inChannels: unet.shape('input_blocks.0.0.weight', 4)[1]!,
    outChannels: unet.shape('out.2.weight', 4)[0]!,
    channels: levels.map((i) => unet.shape(`${first(i)}.0.in_layers.2.weight`, 4)[0]!),
    layersPerBlock,
    attention: levels.map((i) => unet.has(`${first(i)}.1.proj_in.weight`)),
    contextChannels: unet.shape('middle_block.1.transformer_blocks.0.attn2.to_k.weight', 2)[1]!,
  };
}

/** @throws UserError where a tensor that tells a size is missing */
export function inferTextSizes(entries: TensorEntries, path: string): TextSizes {
  const transformer = 'cond_stage_model.transformer.';
  // NovelAI's models lack this part of the path.
  const short = entries.has(`${transformer}embeddings.token_embedding.weight`);
  const text = partOf(entries, path, short ? transformer : `${transformer}text_model.`);
  const [vocabulary, hidden] = text.shape('embeddings.token_embedding.weight', 2);
  return {
    vocabulary: vocabulary!,
    positions: text.shape('embeddings.position_embedding.weight', 2)[0]!,
    hidden: hidden!,
    inner: text.shape('encoder.layers.0.mlp.fc1.weight', 2)[0]!,
    layers: count((i) => text.has(`encoder.layers.${i}.layer_norm1.weight`)),
  };
}

/**
 * The sizes of the autoencoder in a checkpoint, or in a file of its own, in either naming.
 * @throws UserError where a tensor that tells a size is missing
 */
export function inferVaeSizes(entries: TensorEntries, path: string): VaeSizes {
  const whole = 'first_stage_model.';
  const prefix = entries.has(`${whole}decoder.conv_in.weight`) ? whole : '';
  const vae = partOf(entries, path, prefix);
  const [blocks, layers] = vae.has('encoder.down_blocks.0.resnets.0.conv1.weight')
    ? ['encoder.down_blocks', 'resnets']
    : ['encoder.down', 'block'];
  const conv = (i: number, j: number) => `${blocks}.${i}.${layers}.${j}.conv1.weight`;
  const levels = count((i) => vae.has(conv(i, 0)));
  return {
    imageChannels: vae.shape('encoder.conv_in.weight', 4)[1]!,
    latentChannels: vae.shape('decoder.conv_in.weight', 4)[1]!,
    channels: range(levels).map((i) => vae.shape(conv(i, 0), 4)[0]!),
    layersPerBlock: count((j) => vae.has(conv(0, j))),
  };
}
