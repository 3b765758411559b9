/** @file The keys of an adapter's tensors in each form of file. */

import type { AdapterFamily } from '../kohya-metadata.ts';
import {
  kohyaName,
  type LayerName,
  type ReadLayerName,
  readDottedName,
  readKohyaName,
} from './layer-name.ts';

/**
 * The forms of an adapter file: of kohya's tools and the web UIs; of diffusers' training scripts; of
 * PEFT, as diffusers' pipelines save it.
 */
export type AdapterFormat = 'kohya' | 'diffusers' | 'peft';

export const adapterFormats: readonly AdapterFormat[] = ['kohya', 'diffusers', 'peft'];

/** The keys of one layer's factors and scale; `alpha` is null where the form keeps it elsewhere. */
export interface LayerKeys {
  readonly down: string;
  readonly up: string;
  readonly alpha: string | null;
}

/**
 * The keys of a layer.
 * @returns null where a layer has no name in this form
 */
export function layerKeys(
  layer: LayerName,
  format: AdapterFormat,
  family: AdapterFamily,
): LayerKeys | null {
  if (format === 'kohya') {
    const name = kohyaName(layer, family);
    return name === null
      ? null
      : { down: `${name}.lora_down.weight`, up: `${name}.lora_up.weight`, alpha: `${name}.alpha` };
  }
  const { network, path } = layer;
  const name = `${network}.${path}`;
  if (format === 'peft') {
    return { down: `${name}.lora_A.weight`, up: `${name}.lora_B.weight`, alpha: null };
  }
  // The text encoder's layers were given another name than the UNet's, but for its last.
  const part = network === 'unet' || path === 'text_projection' ? 'lora' : 'lora_linear_layer';
  return { down: `${name}.${part}.down.weight`, up: `${name}.${part}.up.weight`, alpha: null };
}

/** What a tensor is for its layer. */
export type TensorRole = 'down' | 'up' | 'alpha';

/** A key taken apart. */
export interface ReadKey {
  /** The part that all keys of the layer have in common. */
  readonly name: string;
  readonly layer: ReadLayerName | null;
  /** Null for a tensor that is no part of a plain LoRA. */
  readonly role: TensorRole | null;
  readonly format: AdapterFormat;
}

const roles: readonly (readonly [RegExp, TensorRole, AdapterFormat])[] = [
  [/\.lora_down\.weight$/, 'down', 'kohya'],
  [/\.lora_up\.weight$/, 'up', 'kohya'],
  [/\.alpha$/, 'alpha', 'kohya'],
  [/\.lora_A(\.default)?\.weight$/, 'down', 'peft'],
  [/\.lora_B(\.default)?\.weight$/, 'up', 'peft'],
  [/\.lora(_linear_layer)?\.down\.weight$/, 'down', 'diffusers'],
  [/\.lora(_linear_layer)?\.up\.weight$/, 'up', 'diffusers'],
  [/(?<=_lora)\.down\.weight$/, 'down', 'diffusers'],
  [/(?<=_lora)\.up\.weight$/, 'up', 'diffusers'],
];

/** Takes a key of any of the forms apart, also where they are mixed, as some trainers do. */
export function readKey(key: string): ReadKey {
  for (const [ending, role, format] of roles) {
    if (!ending.test(key)) continue;
    const name = key.replace(ending, '');
    return { name, layer: readKohyaName(name) ?? readDottedName(name), role, format };
  }
  return { name: key, layer: null, role: null, format: 'kohya' };
}
