/** @file What an adapted layer is called in each form of adapter file. */

import type { AdapterFamily } from '../kohya-metadata.ts';
import { dottedPath, isLayerPath } from './layer-words.ts';
import {
  fromOriginalUnetPath,
  isOriginalUnetPath,
  toOriginalUnetPath,
} from './original-unet-path.ts';

/** The networks of a model, as diffusers names their folders. */
export type LayerNetwork = 'unet' | 'text_encoder' | 'text_encoder_2';

/** One layer of a model. */
export interface LayerName {
  readonly network: LayerNetwork;
  /** In diffusers' UNet or transformers' CLIP, such as `mid_block.attentions.0.proj_in`. */
  readonly path: string;
}

/** A layer as it was named, with what the name tells of the model. */
export interface ReadLayerName extends LayerName {
  /** Whether only SDXL's adapters have such names. */
  readonly isSdxl: boolean;
}

const kohyaPrefixes: readonly (readonly [prefix: string, LayerNetwork])[] = [
  ['lora_unet_', 'unet'],
  ['lora_te1_', 'text_encoder'],
  ['lora_te2_', 'text_encoder_2'],
  ['lora_te_', 'text_encoder'],
];

/** The layer of a name such as `lora_unet_mid_block_attentions_0_proj_in`; null for other names. */
export function readKohyaName(name: string): ReadLayerName | null {
  const found = kohyaPrefixes.find(([prefix]) => name.startsWith(prefix));
  if (!found) return null;
  const [prefix, network] = found;
  const dotted = dottedPath(name.slice(prefix.length));
  const isOriginal = network === 'unet' && dotted !== null && isOriginalUnetPath(dotted);
  const path = isOriginal ? fromOriginalUnetPath(dotted) : dotted;
  if (path === null) return null;
  return { network, path, isSdxl: isOriginal || /^lora_te[12]_/.test(prefix) };
}

/**
 * kohya's name of a layer.
 * @returns null where kohya's tools have none
 */
export function kohyaName({ network, path }: LayerName, family: AdapterFamily): string | null {
  const isSdxl = family === 'sdxl';
  const named = network === 'unet' && isSdxl ? toOriginalUnetPath(path) : path;
  const prefixes = {
    unet: 'lora_unet_',
    text_encoder: isSdxl ? 'lora_te1_' : 'lora_te_',
    text_encoder_2: 'lora_te2_',
  };
  return named === null ? null : prefixes[network] + named.replaceAll('.', '_');
}

const unetPath = /^(down_blocks|up_blocks|mid_block|conv_|time_embedding|add_embedding)/;
const textPath = /^text_(model|projection)/;

/** Attention layers as diffusers named them up to 0.16: `attn1.processor.to_q_lora`, `self_attn.to_q_lora`. */
function withoutProcessor(path: string): string {
  return path
    .replace('.processor.', '.')
    .replace(/(attn[12])\.to_out_lora$/, '$1.to_out.0')
    .replace(/(attn[12]\.to_[qkv])_lora$/, '$1')
    .replace(/(self_attn)\.to_(q|k|v|out)_lora$/, '$1.$2_proj');
}

/** The layer of a dotted name such as `unet.mid_block.attentions.0.proj_in`; null for other names. */
export function readDottedName(name: string): ReadLayerName | null {
  const plain = name.replace(/^base_model\.model\./, '');
  const [, prefix, rest = ''] =
    /^(?:(unet|text_encoder_2|text_encoder)\.)?(.+)$/s.exec(plain) ?? [];
  const path = withoutProcessor(rest);
  if (!isLayerPath(path) || isOriginalUnetPath(path)) return null;
  const found = unetPath.test(path) ? 'unet' : textPath.test(path) ? 'text_encoder' : null;
  const network = (prefix as LayerNetwork | undefined) ?? found;
  if (network === null || (network === 'unet') !== (found === 'unet')) return null;
  return { network, path, isSdxl: network === 'text_encoder_2' };
}
