/** @file The sizes that tell one Stable Diffusion model from another. */

export interface UnetSizes {
  /** Channels of the latents; 4. */
  readonly inChannels: number;
  readonly outChannels: number;
  /** Channels of each level, the largest picture first; 320, 640, 1280, 1280 in SD 1.x and 2.x. */
  readonly channels: readonly number[];
  /** Resnets of each level on the way down; one more on the way up. */
  readonly layersPerBlock: number;
  /** Whether each level has transformers; the middle always has one. */
  readonly attention: readonly boolean[];
  /**
   * Blocks in each level's transformers, 0 where there is none, given where one has more than one
   * block (0, 2, 10 in SDXL). The middle has as many as the last level.
   */
  readonly depths?: readonly number[];
  /** Channels of the text's context; 768, 1024, 2048. */
  readonly contextChannels: number;
  /** True where proj_in and proj_out are matrices, as in SD 2.x and SDXL, not 1x1 convolutions. */
  readonly linearProjection?: boolean;
  /** Channels of pooled text and picture sizes, which SDXL adds to the timestep; 2816. */
  readonly additionChannels?: number;
}

export interface TextSizes {
  readonly vocabulary: number;
  /** Tokens of one chunk; 77. */
  readonly positions: number;
  readonly hidden: number;
  /** Channels inside the MLP; 4·hidden. */
  readonly inner: number;
  /** Blocks that are used. */
  readonly layers: number;
  /** Channels of the pooled text, where the encoder gives one. */
  readonly projection?: number;
}

export interface VaeSizes {
  readonly imageChannels: number;
  readonly latentChannels: number;
  /** Channels of each level, the largest picture first; 128, 256, 512, 512. */
  readonly channels: readonly number[];
  /** Resnets of each level of the encoder; one more in the decoder. */
  readonly layersPerBlock: number;
}

export interface ModelSizes {
  readonly unet: UnetSizes;
  readonly text: TextSizes;
  /** Of the second text encoder, which SDXL has. */
  readonly text2?: TextSizes;
  readonly vae: VaeSizes;
}

/** Pixels of a picture for each latent, along one side. */
export function vaeFactor(sizes: VaeSizes): number {
  return 2 ** (sizes.channels.length - 1);
}

/** Blocks of the transformers of a level; of the middle where `level` is not given. */
export function transformerDepth({ depths, attention }: UnetSizes, level?: number): number {
  if (level === undefined) return Math.max(1, depths?.at(-1) ?? 1);
  return depths?.[level] ?? (attention[level] ? 1 : 0);
}
