/** @file What a family of models is to the rest of the program: everything in which families differ. */

import type { Node } from '../graph/ops.ts';
import type { ClipActivation } from './clip-text-model.ts';
import type { TensorEntries } from './file-kind.ts';
import type { Scope } from './layers.ts';
import type { ModelSizes } from './sizes.ts';
import type { UnetBlocks } from './unet-keys.ts';

export type FamilyId = 'sd1' | 'sd2' | 'sdxl';

/** What a UNet's output is: the noise, or the velocity of Salimans and Ho 2022, arXiv:2202.00512. */
export type Prediction = 'epsilon' | 'v_prediction';

/** One text encoder of a family. */
export interface TextEncoderKind {
  /** The first part of its weights' names: `text_encoder` or `text_encoder_2`. */
  readonly network: 'text_encoder' | 'text_encoder_2';
  /** Of its modules in kohya's files, such as `lora_te_`. */
  readonly adapterPrefix: string;
  /** Token that fills a chunk up after its end. */
  readonly pad: number;
  readonly activation: ClipActivation;
}

/** Where a weight lies in a file. */
export interface WeightKey {
  readonly key: string;
  /** The third of the first dimension that is meant, where q, k and v lie in one tensor. */
  readonly third?: 0 | 1 | 2;
  /** Stored as [in, out]. */
  readonly transposed?: boolean;
}

/** A text encoder in a graph. */
export interface EncoderNodes {
  readonly scope: Scope;
  /** i32 [n, 77] or [n, chunks, 77]. */
  readonly ids: Node;
  readonly heads: number | undefined;
  readonly activation: ClipActivation;
  /** Of each token, f32, as many as ids; undefined where all weigh the same. */
  readonly weights: Node | undefined;
}

/** What the UNet is given of the captions. */
export interface TextNodes {
  /** [n, t, d]. */
  readonly context: Node;
  /** [n, p]: the caption as one vector, which SDXL adds to the timestep. */
  readonly pooled?: Node;
}

export interface TextOptions {
  /** Which of the text encoder's layers is read, 1 the last. */
  readonly clipSkip: number;
  /** Whether tokens have weights; false unless given. */
  readonly emphasis?: boolean;
}

/** A family of models that differ in their weights and sizes alone. */
export interface ModelFamily {
  readonly id: FamilyId;
  /** `Stable Diffusion 1.x` */
  readonly name: string;
  readonly textEncoders: readonly TextEncoderKind[];
  /** The text encoder that gives the pooled text, or null. */
  readonly pooledFrom: TextEncoderKind['network'] | null;
  /** Latents are multiplied by this before the UNet sees them. */
  readonly latentScale: number;
  /** What the UNet predicts where nothing in a file tells; null where that has to be tried. */
  readonly usualPrediction: Prediction | null;
  /** Side of the pictures that the published model was made at, in pixels. */
  readonly resolution: { readonly [P in Prediction]: number };
  /**
   * The only `clipSkip` that the family's UNets know, counted from the last block that is used; null
   * where models differ.
   */
  readonly fixedClipSkip: number | null;
  /** Attention heads of a UNet block of so many channels, which tensors do not tell. */
  unetHeads(channels: number): number;
  /**
   * The sizes of the text encoders of a single-file checkpoint.
   * @throws UserError where a tensor that tells a size is missing
   */
  inferTextSizes(entries: TensorEntries, path: string): Pick<ModelSizes, 'text' | 'text2'>;
  /** The keys of a text encoder's weight in a single-file checkpoint, the usual one first. */
  textKeys(network: string, path: string): readonly WeightKey[];
  /** Keys of a checkpoint's text encoders that are of no use here. */
  readonly unusedText: RegExp;
  /**
   * Captions to what the UNet is given.
   * @param endRows where each caption ends: i32 [n], rows of the first encoder's [n·chunks·77] tokens
   */
  encodeText(
    encoders: readonly EncoderNodes[],
    endRows: () => Node,
    options: TextOptions,
  ): TextNodes;
  /**
   * How kohya's files name the module of a UNet's layer, without prefix.
   * @param path such as `mid_block.attentions.0.proj_in`
   * @param unet gives the UNet's sizes, where a name depends on them
   */
  adapterPath(path: string, unet: () => UnetBlocks): string;
}
