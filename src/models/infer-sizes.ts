/** @file Reads the sizes of a model off the shapes of its tensors. */

import type { Shape } from '../tensor/shape.ts';
import { UserError } from '../tensor/user-error.ts';
import type { TensorEntries } from './file-kind.ts';
import type { TextSizes, UnetSizes, VaeSizes } from './sizes.ts';

/** The tensors below one prefix of a file. */
interface Part {
  has(key: string): boolean;
  /** @throws UserError where it is missing or has another number of dimensions */
  shape(key: string, dimensions: number): Shape;
  /** 0 where it is missing. */
  dimensions(key: string): number;
}

function partOf(entries: TensorEntries, path: string, prefix: string): Part {
  return {
    has: (key) => entries.has(prefix + key),
    dimensions: (key) => entries.get(prefix + key)?.shape.length ?? 0,
    shape: (key, dimensions) => {
      const shape = entries.get(prefix + key)?.shape;
      if (shape?.length === dimensions) return shape;
      throw new UserError(
        `${path}: the tensor ${prefix}${key} ${shape ? `has the shape [${shape}]` : 'is missing'}, so this is no ` +
          'complete Stable Diffusion checkpoint; use a whole one, as web UIs load it',
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

/** What the levels of a UNet have in common, whatever names its tensors have. */
interface UnetNames {
  readonly layersPerBlock: number;
  readonly levels: number;
  /** Keys of the first resnet's first convolution and of the first transformer of a level. */
  readonly conv: (level: number) => string;
  readonly transformer: (level: number) => string;
  readonly middle: string;
  readonly convIn: string;
  readonly convOut: string;
  readonly addition: string;
}

function unetSizes(unet: Part, names: UnetNames): UnetSizes {
  const levels = range(names.levels);
  const depths = levels.map((i) =>
    count((j) => unet.has(`${names.transformer(i)}.transformer_blocks.${j}.norm1.weight`)),
  );
  const attention = levels.map((i) => unet.has(`${names.transformer(i)}.proj_in.weight`));
  const addition = unet.has(names.addition) ? unet.shape(names.addition, 2)[1]! : undefined;
  const linearProjection = unet.dimensions(`${names.middle}.proj_in.weight`) === 2;
  return {
    inChannels: unet.shape(names.convIn, 4)[1]!,
    outChannels: unet.shape(names.convOut, 4)[0]!,
    channels: levels.map((i) => unet.shape(names.conv(i), 4)[0]!),
    layersPerBlock: names.layersPerBlock,
    attention,
    ...(depths.some((depth) => depth > 1) ? { depths } : {}),
    contextChannels: unet.shape(`${names.middle}.transformer_blocks.0.attn2.to_k.weight`, 2)[1]!,
    ...(linearProjection ? { linearProjection } : {}),
    ...(addition === undefined ? {} : { additionChannels: addition }),
  };
}

/**
 * The sizes of the UNet of a single-file checkpoint.
 * @throws UserError where a tensor that tells a size is missing
 */
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
  return unetSizes(unet, {
    layersPerBlock,
    levels: downsamplers.length + 1,
    conv: (i) => `${first(i)}.0.in_layers.2.weight`,
    transformer: (i) => `${first(i)}.1`,
    middle: 'middle_block.1',
    convIn: 'input_blocks.0.0.weight',
    convOut: 'out.2.weight',
    addition: 'label_emb.0.0.weight',
  });
}

/**
 * The sizes of a UNet whose tensors have diffusers' names.
 * @param prefix of the names, such as `unet.`
 * @throws UserError where a tensor that tells a size is missing
 */
export function inferNamedUnetSizes(entries: TensorEntries, path: string, prefix = ''): UnetSizes {
  const unet = partOf(entries, path, prefix);
  const conv = (i: number, j: number) => `down_blocks.${i}.resnets.${j}.conv1.weight`;
  return unetSizes(unet, {
    layersPerBlock: count((j) => unet.has(conv(0, j))),
    levels: count((i) => unet.has(conv(i, 0))),
    conv: (i) => conv(i, 0),
    transformer: (i) => `down_blocks.${i}.attentions.0`,
    middle: 'mid_block.attentions.0',
    convIn: 'conv_in.weight',
    convOut: 'conv_out.weight',
    addition: 'add_embedding.linear_1.weight',
  });
}

/**
 * The sizes of a text encoder whose tensors have Hugging Face's names.
 * @param prefix up to and with `text_model.`
 * @throws UserError where a tensor that tells a size is missing
 */
export function inferClipSizes(entries: TensorEntries, path: string, prefix: string): TextSizes {
  const text = partOf(entries, path, prefix);
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
 * The sizes of a text encoder in OpenCLIP's layout, all blocks counted.
 * @throws UserError where a tensor that tells a size is missing
 */
export function inferOpenClipSizes(
  entries: TensorEntries,
  path: string,
  prefix: string,
): TextSizes {
  const text = partOf(entries, path, prefix);
  const [vocabulary, hidden] = text.shape('token_embedding.weight', 2);
  return {
    vocabulary: vocabulary!,
    positions: text.shape('positional_embedding', 2)[0]!,
    hidden: hidden!,
    inner: text.shape('transformer.resblocks.0.mlp.c_fc.weight', 2)[0]!,
    layers: count((i) => text.has(`transformer.resblocks.${i}.ln_1.weight`)),
    ...(text.has('text_projection') ? { projection: text.shape('text_projection', 2)[1]! } : {}),
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
