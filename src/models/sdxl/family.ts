/**
 * @file SDXL: CLIP-L and OpenCLIP's bigG side by side, read at their last block but one without a
 * norm; the pooled text of the second and the picture's sizes are added to the timestep.
 */

import type { Node } from '../../graph/ops.ts';
import {
  type ClipStates,
  chunkRows,
  chunksOf,
  clipTextModel,
  joinChunks,
} from '../clip-text-model.ts';
import { clipEos } from '../clip-tokenizer.ts';
import { weighTokens } from '../emphasis.ts';
import { inferClipSizes, inferOpenClipSizes } from '../infer-sizes.ts';
import { linear } from '../layers.ts';
import type { EncoderNodes, ModelFamily } from '../model-family.ts';
import { openClipKey } from '../open-clip-keys.ts';
import { unetKey } from '../unet-keys.ts';

const headChannels = 64;
const clipPrefix = 'conditioner.embedders.0.transformer.';
const openClipPrefix = 'conditioner.embedders.1.model.';

function statesOf({ scope, ids, ...clip }: EncoderNodes): ClipStates {
  return clipTextModel(scope, chunkRows(scope.g, ids), clip);
}

/** The text of each caption as one vector: the last state at its end, projected. */
function pooledText({ scope }: EncoderNodes, { last }: ClipStates, endRows: Node): Node {
  const { g } = scope;
  const [rows, length, width] = last.shape as [number, number, number];
  const ends = g.gather(g.reshape(last, [rows * length, width]), endRows);
  return linear(scope, 'text_projection', ends);
}

export const sdxl: ModelFamily = {
  id: 'sdxl',
  name: 'SDXL',
  textEncoders: [
    { network: 'text_encoder', adapterPrefix: 'lora_te1_', pad: clipEos, activation: 'quickGelu' },
    { network: 'text_encoder_2', adapterPrefix: 'lora_te2_', pad: 0, activation: 'gelu' },
  ],
  pooledFrom: 'text_encoder_2',
  latentScale: 0.13025,
  usualPrediction: 'epsilon',
  resolution: { epsilon: 1024, v_prediction: 1024 },
  fixedClipSkip: 2,
  unetHeads: (channels) => Math.max(1, Math.round(channels / headChannels)),
  inferTextSizes: (entries, path) => ({
    text: inferClipSizes(entries, path, `${clipPrefix}text_model.`),
    text2: inferOpenClipSizes(entries, path, openClipPrefix),
  }),
  textKeys: (network, path) => {
    if (network === 'text_encoder') return [{ key: clipPrefix + path }];
    const place = openClipKey(path);
    return [{ ...place, key: openClipPrefix + place.key }];
  },
  unusedText: /^conditioner\.embedders\.\d\.(model|transformer)\.(attn_mask|logit_scale)$/,
  encodeText: (encoders, endRows) => {
    const [first, second] = encoders as [EncoderNodes, EncoderNodes];
    const { g } = first.scope;
    const [states, states2] = [statesOf(first), statesOf(second)];
    const chunks = chunksOf(first.ids);
    const contexts = [states, states2].map(({ hidden }, i) =>
      joinChunks(g, weighTokens(g, hidden.at(-2)!, encoders[i]!.weights), chunks),
    );
    return { context: g.concat(contexts, 2), pooled: pooledText(second, states2, endRows()) };
  },
  // kohya's trainer names SDXL's UNet as its checkpoint does, without `model.diffusion_model.`
  adapterPath: (path, unet) => unetKey(path, unet()),
};
