/** @file Stable Diffusion 1.x: one CLIP-L text encoder, eight heads everywhere, 512 pixels. */

import { textContext } from '../clip-text-model.ts';
import { clipEos } from '../clip-tokenizer.ts';
import { inferClipSizes } from '../infer-sizes.ts';
import type { ModelFamily } from '../model-family.ts';
import { unetHeads } from './sizes.ts';

const textPrefix = 'cond_stage_model.transformer.';

export const sd1: ModelFamily = {
  id: 'sd1',
  name: 'Stable Diffusion 1.x',
  textEncoders: [
    {
      network: 'text_encoder',
      adapterPrefix: 'lora_te_',
      pad: clipEos,
      activation: 'quickGelu',
    },
  ],
  pooledFrom: null,
  latentScale: 0.18215,
  usualPrediction: 'epsilon',
  resolution: { epsilon: 512, v_prediction: 512 },
  fixedClipSkip: null,
  unetHeads: () => unetHeads,
  inferTextSizes: (entries, path) => {
    // NovelAI's models lack this part of the path.
    const short = entries.has(`${textPrefix}embeddings.token_embedding.weight`);
    const prefix = short ? textPrefix : `${textPrefix}text_model.`;
    return { text: inferClipSizes(entries, path, prefix) };
  },
  textKeys: (_, path) => {
    const key = textPrefix + path;
    return [{ key }, { key: key.replace('.text_model.', '.') }];
  },
  unusedText:
    /^cond_stage_model\.(logit_scale|transformer\.(vision_model|visual_projection|text_projection|logit_scale))/,
  encodeText: ([encoder], _, { clipSkip }) => {
    const { scope, ids, ...clip } = encoder!;
    return { context: textContext(scope, ids, { ...clip, clipSkip }) };
  },
  adapterPath: (path) => path,
};
