/** @file Sizes of small networks with every part of the published ones, for trying the benchmarks. */

import type { FamilyId } from '../src/models/model-family.ts';
import type { ModelSizes } from '../src/models/sizes.ts';

const clip = { vocabulary: 49408, positions: 77, layers: 2 } as const;
const text = { ...clip, hidden: 64, inner: 128 };
const unet = {
  inChannels: 4,
  outChannels: 4,
  channels: [32, 64, 64, 64],
  layersPerBlock: 2,
  attention: [true, true, true, false],
  contextChannels: 64,
} as const;
const vae = { imageChannels: 3, latentChannels: 4, channels: [32, 32, 32, 32], layersPerBlock: 1 };

/** As `publishedSizes`, a thousandth of their weights. */
export const tinySizes: { readonly [F in FamilyId]: ModelSizes } = {
  sd1: { unet, text, vae },
  sd2: { unet: { ...unet, linearProjection: true }, text, vae },
  sdxl: {
    unet: {
      ...unet,
      channels: [32, 64, 128],
      attention: [false, true, true],
      depths: [0, 1, 2],
      contextChannels: 128,
      linearProjection: true,
      additionChannels: 64 + 6 * 32,
    },
    text,
    text2: { ...text, projection: 64 },
    vae,
  },
};
