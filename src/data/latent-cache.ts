/** @file Keys and files of cached latents, so that a second run need not encode its images again. */

import type { Tensor } from '../tensor/tensor.ts';
import type { Size } from './buckets.ts';
import { TensorCache } from './tensor-cache.ts';

/** Raise it when `readImage` makes other pixels of the same file. */
const pixelsVersion = 1;

/** All that a latent depends on. */
export interface LatentKey {
  /** SHA-256 of the image file. */
  readonly contentHash: string;
  readonly bucket: Size;
  readonly flip: boolean;
  /** Identifies the VAE's weights and the precision it runs in. */
  readonly vaeKey: string;
}

/** The key's text; equal texts mean equal latents. */
export function latentKeyText({ contentHash, bucket, flip, vaeKey }: LatentKey): string {
  const side = flip ? 'mirrored' : 'upright';
  return `latent ${pixelsVersion} ${contentHash} ${bucket.width}x${bucket.height} ${side} ${vaeKey}`;
}

/** Moments of the VAE on disk: f32 [8, height / 8, width / 8], mean and log-variance of 4 channels each. */
export class LatentCache {
  readonly #entries: TensorCache;

  constructor(folder: string) {
    this.#entries = new TensorCache(folder, '.latent');
  }

  /** The moments, or null where they have to be computed (again). */
  get(key: LatentKey): Promise<Tensor<'f32'> | null> {
    return this.#entries.get(latentKeyText(key));
  }

  /**
   * Keeps the moments.
   * @throws UserError where the folder cannot be written to or the disk is full.
   */
  put(key: LatentKey, moments: Tensor<'f32'>): Promise<void> {
    return this.#entries.put(latentKeyText(key), moments);
  }

  /** Removes what was not used for longest until the rest takes `maxBytes` or less. */
  prune(maxBytes: number): Promise<{ readonly removed: number; readonly bytes: number }> {
    return this.#entries.prune(maxBytes);
  }
}
