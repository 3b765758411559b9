/** @file The sizes of Stable Diffusion 1.5. */

import type { ModelSizes } from '../src/models/sizes.ts';

export const sd15Sizes: ModelSizes = {
  unet: {
    inChannels: 4,
    outChannels: 4,
    channels: [320, 640, 1280, 1280],
    layersPerBlock: 2,
    attention: [true, true, true, false],
    contextChannels: 768,
  },
  text: { vocabulary: 49408, positions: 77, hidden: 768, inner: 3072, layers: 12 },
  vae: { imageChannels: 3, latentChannels: 4, channels: [128, 256, 512, 512], layersPerBlock: 2 },
};
