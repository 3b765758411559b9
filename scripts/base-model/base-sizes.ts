/** @file The sizes of the embedded base model: SD 1.x's structure, small enough for the repository. */

import type { Sd1Sizes } from '../../src/models/sd1/sizes.ts';

/**
 * 64 channels everywhere: with 32 groups a group norm over fewer channels than 64 would have one
 * channel in a group, and lose the colour of large areas.
 */
export const baseSizes: Sd1Sizes = {
  unet: {
    inChannels: 4,
    outChannels: 4,
    channels: [64, 64, 64, 64],
    layersPerBlock: 2,
    attention: [true, true, true, false],
    contextChannels: 64,
  },
  text: { vocabulary: 49408, positions: 77, hidden: 64, inner: 256, layers: 4 },
  vae: { imageChannels: 3, latentChannels: 4, channels: [64, 64, 96, 96], layersPerBlock: 1 },
};

/** Side of the pictures that the model is made for, in pixels. */
export const baseSide = 128;
