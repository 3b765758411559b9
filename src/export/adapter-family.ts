/** @file Which models an adapter fits, from its metadata, names and shapes. */

import type { Metadata } from '../weights/safetensors-header.ts';
import type { AdapterFamily } from './kohya-metadata.ts';
import type { ReadAdapter } from './read-adapter.ts';

/** What metadata says: `ss_base_model_version` of kohya, `modelspec.architecture`. */
const saidFamilies: readonly (readonly [RegExp, AdapterFamily])[] = [
  [/^sdxl|stable-diffusion-xl/, 'sdxl'],
  [/^sd_v2|stable-diffusion-v2/, 'sd2'],
  [/^sd_v1|stable-diffusion-v1/, 'sd1'],
];

/** Channels of the text that cross-attention reads. */
const familyOfContext: Readonly<Record<number, AdapterFamily>> = {
  768: 'sd1',
  1024: 'sd2',
  2048: 'sdxl',
};

/** Blocks with transformers that only one kind of UNet has: SDXL's start a level lower. */
const sdxlBlocks = /^up_blocks\.0\.attentions|transformer_blocks\.[1-9]/;
const otherBlocks = /^(down_blocks\.0|up_blocks\.3)\.attentions|_blocks\.3\./;

/** The models that an adapter is for; null where nothing tells. */
export function adapterFamily(
  { layers, hasSdxlNames }: ReadAdapter,
  metadata: Metadata,
): AdapterFamily | null {
  const said = ['ss_base_model_version', 'modelspec.architecture'].map((key) => metadata.get(key));
  for (const text of said) {
    const found = text && saidFamilies.find(([pattern]) => pattern.test(text))?.[1];
    if (found) return found;
  }
  if (hasSdxlNames) return 'sdxl';
  const inUnet = layers.filter(({ layer }) => layer.network === 'unet');
  const context = inUnet.find(({ layer }) => /attn2\.to_[kv]$/.test(layer.path))?.down.shape[1];
  const byContext = context === undefined ? undefined : familyOfContext[context];
  if (byContext) return byContext;
  // kohya's names of SD 1.x and 2.x are the same, so that either will do for them.
  const isSdxl = inUnet.some(({ layer }) => sdxlBlocks.test(layer.path));
  return isSdxl && !inUnet.some(({ layer }) => otherBlocks.test(layer.path)) ? 'sdxl' : null;
}
