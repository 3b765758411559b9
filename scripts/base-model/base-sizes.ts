/** @file The sizes of the embedded base model: SD 1.x's structure, small enough for the repository. */

import type { Sd1Sizes } from '../../src/models/sd1/sizes.ts';

/**
 * Every group norm has 32 groups. Where large areas of one colour pass through a norm, at both ends of
 * the autoencoder, a group needs three channels: normalised pairs tell the sign of a colour only.
 */
export const baseSizes: Sd1Sizes = {
  unet: {
    inChannels: 4,
    outChannels: 4,
    channels: [96, 96],
    layersPerBlock: 1,
    attention: [true, true],
    contextChannels: 56,
  },
  text: { vocabulary: 49408, positions: 77, hidden: 56, inner: 224, layers: 4 },
  vae: { imageChannels: 3, latentChannels: 4, channels: [96, 64, 64, 96], layersPerBlock: 1 },
};

/** Side of the pictures that the model is made for, in pixels. */
export const baseSide = 128;
