/** @file The sizes of published models. */

import type { FamilyId } from '../src/models/model-family.ts';
import type { ModelSizes, VaeSizes } from '../src/models/sizes.ts';
import { sd15Sizes } from './sd15-sizes.ts';

/** CLIP's vocabulary and positions, which all text encoders share. */
const clip = { vocabulary: 49408, positions: 77 } as const;

const vae: VaeSizes = sd15Sizes.vae;

/** Stable Diffusion 1.5, 2.1 and SDXL base. */
export const publishedSizes: { readonly [F in FamilyId]: ModelSizes } = {
  sd1: sd15Sizes,
  sd2: {
    unet: { ...sd15Sizes.unet, contextChannels: 1024, linearProjection: true },
    text: { ...clip, hidden: 1024, inner: 4096, layers: 23 },
    vae,
  },
  sdxl: {
    unet: {
      ...sd15Sizes.unet,
      channels: [320, 640, 1280],
      attention: [false, true, true],
      depths: [0, 2, 10],
      contextChannels: 2048,
      linearProjection: true,
      additionChannels: 1280 + 6 * 256,
    },
    text: sd15Sizes.text,
    text2: { ...clip, hidden: 1280, inner: 5120, layers: 32, projection: 1280 },
    vae,
  },
};
