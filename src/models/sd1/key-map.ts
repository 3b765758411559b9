/**
 * @file From our names of weights, which are diffusers' paths, to the keys of a single-file
 * checkpoint, which are those of CompVis's latent-diffusion.
 */

import type { Sd1Sizes } from './sizes.ts';

/** What the key map depends on. */
interface BlockCounts {
  readonly unet: { readonly layersPerBlock: number; readonly attention: readonly boolean[] };
  readonly vae: { readonly channels: readonly number[] };
}

const unetPrefix = 'model.diffusion_model.';
const textPrefix = 'cond_stage_model.transformer.';
const vaePrefix = 'first_stage_model.';

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
  conv_in: 'input_blocks.0.0',
  conv_norm_out: 'out.0',
  conv_out: 'out.2',
};

const vaeAttentionParts: Readonly<Record<string, string>> = {
  group_norm: 'norm',
  to_q: 'q',
  to_k: 'k',
  to_v: 'v',
  'to_out.0': 'proj_out',
};

/** The rest of a path inside a block: a resnet's parts have other names, a transformer's the same. */
function insideBlock(kind: string, rest: string): string {
  return kind === 'resnets' ? (unetResnetParts[rest] ?? rest) : rest;
}

/** `path` is a layer of the UNet, without `.weight` or `.bias`. */
function unetKey(path: string, { layersPerBlock, attention }: BlockCounts['unet']): string {
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

/** `path` is a layer of the autoencoder, without `.weight` or `.bias`. */
function vaeKey(path: string, levels: number): string {
  const match =
    /^(encoder|decoder)\.(?:(mid_block)|(?:down|up)_blocks\.(\d+))\.(\w+)\.(\d+)\.(.+)$/.exec(path);
  if (!match) return path.replace('conv_norm_out', 'norm_out');
  const [, half, middle, level, kind, index, rest = ''] = match;
  const inner = rest === 'conv_shortcut' ? 'nin_shortcut' : rest;
  if (middle) {
    if (kind === 'attentions') return `${half}.mid.attn_1.${vaeAttentionParts[rest]}`;
    return `${half}.mid.block_${Number(index) + 1}.${inner}`;
  }
  // Levels of the decoder are counted from the other end.
  const block =
    half === 'encoder' ? `encoder.down.${level}` : `decoder.up.${levels - 1 - Number(level)}`;
  if (kind === 'downsamplers') return `${block}.downsample.conv`;
  if (kind === 'upsamplers') return `${block}.upsample.conv`;
  return `${block}.block.${index}.${inner}`;
}

function splitName(name: string): [network: string, path: string, part: string] {
  const [, network, path, part] = /^(unet|text_encoder|vae)\.(.+)\.(weight|bias)$/.exec(name) ?? [];
  if (!network || !path || !part) throw new Error(`internal: ${name} is no name of a weight`);
  return [network, path, part];
}

/** The key in an SD 1.x checkpoint of a weight such as `unet.conv_in.weight`. */
export function sd1CheckpointKey(name: string, { unet, vae }: BlockCounts): string {
  const [network, path, part] = splitName(name);
  switch (network) {
    case 'unet':
      return `${unetPrefix}${unetKey(path, unet)}.${part}`;
    case 'vae':
      return `${vaePrefix}${vaeKey(path, vae.channels.length)}.${part}`;
    default:
      return `${textPrefix}${path}.${part}`;
  }
}

const olderVaeAttention: Readonly<Record<string, string>> = {
  to_q: 'query',
  to_k: 'key',
  to_v: 'value',
  'to_out.0': 'proj_attn',
};

/**
 * All keys under which a weight is found in published files, the usual one first: the text encoder of
 * NovelAI's models lacks `text_model.`; an autoencoder of its own has no prefix, or diffusers' names.
 */
export function sd1KeyCandidates(name: string, sizes: Pick<Sd1Sizes, 'unet' | 'vae'>): string[] {
  const key = sd1CheckpointKey(name, sizes);
  const [network, path, part] = splitName(name);
  if (network === 'text_encoder') return [key, key.replace('.text_model.', '.')];
  if (network !== 'vae') return [key];
  const older = path.replace(
    /(attentions\.0\.)(to_q|to_k|to_v|to_out\.0)$/,
    (_, block: string, layer: string) => block + olderVaeAttention[layer],
  );
  return [...new Set([key, key.slice(vaePrefix.length), `${path}.${part}`, `${older}.${part}`])];
}
