/** @file The sizes that tell one SD 1.x model from another. */

export interface UnetSizes {
  /** Channels of the latents; 4. */
  readonly inChannels: number;
  readonly outChannels: number;
  /** Channels of each level, the largest picture first; 320, 640, 1280, 1280. */
  readonly channels: readonly number[];
  /** Resnets of each level on the way down; one more on the way up. */
  readonly layersPerBlock: number;
  /** Whether each level has transformers; the middle always has one. */
  readonly attention: readonly boolean[];
  /** Channels of the text's context; 768. */
  readonly contextChannels: number;
}

export interface TextSizes {
  readonly vocabulary: number;
  /** Tokens of one chunk; 77. */
  readonly positions: number;
  readonly hidden: number;
  /** Channels inside the MLP; 4·hidden. */
  readonly inner: number;
  readonly layers: number;
}

export interface VaeSizes {
  readonly imageChannels: number;
  readonly latentChannels: number;
  /** Channels of each level, the largest picture first; 128, 256, 512, 512. */
  readonly channels: readonly number[];
  /** Resnets of each level of the encoder; one more in the decoder. */
  readonly layersPerBlock: number;
}

export interface Sd1Sizes {
  readonly unet: UnetSizes;
  readonly text: TextSizes;
  readonly vae: VaeSizes;
}

/** Pixels of a picture for each latent, along one side. */
export function vaeFactor(sizes: VaeSizes): number {
  return 2 ** (sizes.channels.length - 1);
}

/** Attention heads of every transformer of SD 1.x; tensors do not tell. */
export const unetHeads = 8;
