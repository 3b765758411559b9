/**
 * @file Stable Diffusion 2.x: OpenCLIP's ViT-H text encoder, read at its last block but one, heads of
 * 64 channels. Files do not say whether the UNet predicts noise or velocity.
 */

import { textContext } from '../clip-text-model.ts';
import { inferOpenClipSizes } from '../infer-sizes.ts';
import type { ModelFamily } from '../model-family.ts';
import { openClipKey } from '../open-clip-keys.ts';

const headChannels = 64;
/** The usual prefix, and that of SD 2.1 Turbo. */
const prefixes = ['cond_stage_model.model.', 'conditioner.embedders.0.model.'] as const;

/** Blocks of the published text encoder that are used, where a file has left out the last one. */
const publishedLayers = 23;

export const sd2: ModelFamily = {
  id: 'sd2',
  name: 'Stable Diffusion 2.x',
  textEncoders: [
    { network: 'text_encoder', adapterPrefix: 'lora_te_', pad: 0, activation: 'gelu' },
  ],
  pooledFrom: null,
  latentScale: 0.18215,
  usualPrediction: null,
  resolution: { epsilon: 512, v_prediction: 768 },
  fixedClipSkip: 1,
  unetHeads: (channels) => Math.max(1, Math.round(channels / headChannels)),
  inferTextSizes: (entries, path) => {
    const prefix = prefixes.find((each) => entries.has(`${each}ln_final.weight`)) ?? prefixes[0];
    const { projection: _, ...sizes } = inferOpenClipSizes(entries, path, prefix);
    const layers = sizes.layers === publishedLayers ? publishedLayers : sizes.layers - 1;
    return { text: { ...sizes, layers } };
  },
  textKeys: (_, path) => {
    const place = openClipKey(path);
    return prefixes.map((prefix) => ({ ...place, key: prefix + place.key }));
  },
  unusedText: new RegExp(
    `^(${prefixes.map((prefix) => prefix.replaceAll('.', String.raw`\.`)).join('|')})` +
      String.raw`(attn_mask|logit_scale|text_projection|transformer\.resblocks\.\d+\.)`,
  ),
  encodeText: ([encoder], _, { clipSkip }) => {
    const { scope, ids, ...clip } = encoder!;
    return { context: textContext(scope, ids, { ...clip, clipSkip }) };
  },
  adapterPath: (path) => path,
};
