/**
 * @file From diffusers' paths of a UNet's layers to the keys of a single-file checkpoint, which are
 * those of CompVis's latent-diffusion and of Stability AI's generative-models.
 */

import type { UnetSizes } from './sizes.ts';

/** What the keys depend on. */
export type UnetBlocks = Pick<UnetSizes, 'layersPerBlock' | 'attention'>;

const unetResnetParts: Readonly<Record<string, string>> = {
  norm1: 'in_layers.0',
  conv1: 'in_layers.2',
  time_emb_proj: 'emb_layers.1',
  norm2: 'out_layers.0',
  conv2: 'out_layers.3',
  conv_shortcut: 'skip_connection',
};

const unetOuterParts: Readonly<Record<string, string>> = {
  'time_embedding.linear_1': 'time_embed.0',
  'time_embedding.linear_2': 'time_embed.2',
  'add_embedding.linear_1': 'label_emb.0.0',
  'add_embedding.linear_2': 'label_emb.0.2',
  conv_in: 'input_blocks.0.0',
  conv_norm_out: 'out.0',
  conv_out: 'out.2',
};

/** The rest of a path inside a block: a resnet's parts have other names, a transformer's the same. */
function insideBlock(kind: string, rest: string): string {
  return kind === 'resnets' ? (unetResnetParts[rest] ?? rest) : rest;
}

/**
 * @param path of a layer of the UNet, without `.weight` or `.bias`
 * @returns its key below `model.diffusion_model.`
 */
export function unetKey(path: string, { layersPerBlock, attention }: UnetBlocks): string {
  const outer = unetOuterParts[path];
  if (outer) return outer;
  const [, side, level = '', kind = '', index = '', rest = ''] =
    /^(down|mid|up)_block(?:s\.(\d+))?\.(\w+)\.(\d+)\.(.+)$/.exec(path) ?? [];
  const i = Number(level);
  const j = Number(index);
  const slot = kind === 'attentions' ? 1 : 0;
  const inner = insideBlock(kind, rest);
  switch (side) {
    case 'down': {
      const block = (layersPerBlock + 1) * i + 1;
      if (kind === 'downsamplers') return `input_blocks.${block + layersPerBlock}.0.op`;
      return `input_blocks.${block + j}.${slot}.${inner}`;
    }
    case 'mid':
      return `middle_block.${slot === 1 ? 1 : 2 * j}.${inner}`;
    case 'up': {
      const block = (layersPerBlock + 1) * i;
      if (kind !== 'upsamplers') return `output_blocks.${block + j}.${slot}.${inner}`;
      // After the transformer, where the level has one.
      const last = attention[attention.length - 1 - i] ? 2 : 1;
      return `output_blocks.${block + layersPerBlock}.${last}.conv`;
    }
    default:
      throw new Error(`internal: no checkpoint key for unet.${path}`);
  }
}
