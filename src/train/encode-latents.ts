/** @file The latents of a data set: encoded once by the VAE, then read from the cache on disk. */

import type { Size } from '../data/buckets.ts';
import { LatentCache } from '../data/latent-cache.ts';
import { readImage } from '../data/read-image.ts';
import { GraphBuilder } from '../graph/graph-builder.ts';
import { networkScope } from '../models/layers.ts';
import { vaeEncoder } from '../models/vae.ts';
import { type Executable, type Executor, OutOfMemoryError } from '../runtime/executor.ts';
import type { Shape } from '../tensor/shape.ts';
import { f32, type Tensor } from '../tensor/tensor.ts';
import { UserError } from '../tensor/user-error.ts';
import { findNonFinite } from '../weights/non-finite.ts';

/** A picture to be encoded. */
interface LatentSource {
  readonly path: string;
  readonly contentHash: string;
  readonly bucket: Size;
}

export interface EncodeOptions {
  readonly sources: readonly LatentSource[];
  /** Mirrored pictures as well. */
  readonly flip: boolean;
  readonly cacheDir: string;
  /** Identifies the VAE's weights. */
  readonly vaeKey: string;
  readonly shapes: ReadonlyMap<string, Shape>;
  /** Made when the first picture is not in the cache. */
  readonly createExecutor: () => Promise<Executor>;
  readonly onProgress: (done: number, total: number) => void;
}

/** Moments [8, h, w] of each picture, upright and, where asked for, mirrored. */
export interface EncodedLatents {
  /** @param sample index in `sources` */
  moments(sample: number, flip: boolean): Tensor<'f32'>;
  /** Pictures that were encoded now, not read from the cache. */
  readonly encoded: number;
}

/** A graph for each bucket, on an executor that is made when it is first needed. */
class Encoder {
  readonly #options: EncodeOptions;
  #executor: Executor | undefined;
  readonly #graphs = new Map<string, Executable>();

  constructor(options: EncodeOptions) {
    this.#options = options;
  }

  async encode({ path, bucket }: LatentSource, flip: boolean): Promise<Tensor<'f32'>> {
    const { width, height } = bucket;
    const image = await readImage(path, { width, height, flip });
    const moments = await this.#momentsOf(image.data, bucket).catch((error: unknown) => {
      if (!(error instanceof OutOfMemoryError)) throw error;
      throw new UserError(
        `${path}: the device has no memory to encode a picture of ${width}×${height} (${error.reason}); lower data.resolution`,
      );
    });
    const data = (moments.data as Float32Array).slice();
    const bad = findNonFinite(data);
    if (bad >= 0) {
      throw new UserError(
        `${path}: the base model's VAE makes ${data[bad]} of this picture; use another VAE (\`vae:\` in the configuration) or take the picture out`,
      );
    }
    return f32(moments.shape.slice(1), data);
  }

  async #momentsOf(image: Float32Array, bucket: Size): Promise<Tensor> {
    const { width, height } = bucket;
    const executable = await this.#graphFor(bucket);
    const { moments } = await executable.run({ image: f32([1, 3, height, width], image) });
    return moments!;
  }

  async #graphFor({ width, height }: Size): Promise<Executable> {
    const key = `${width}x${height}`;
    const known = this.#graphs.get(key);
    if (known) return known;
    this.#executor ??= await this.#options.createExecutor();
    const g = new GraphBuilder();
    const scope = networkScope(g, this.#options.shapes, 'vae');
    const moments = vaeEncoder(scope, g.input('image', [1, 3, height, width]));
    // Values of SDXL's autoencoder go beyond the range of f16.
    const executable = await this.#executor.compile(g.build({ moments }), { wideRange: true });
    this.#graphs.set(key, executable);
    return executable;
  }

  async dispose(): Promise<void> {
    await this.#executor?.dispose();
  }
}

/**
 * Encodes what the cache does not have.
 * @throws UserError for a picture that cannot be read, or whose latents are not finite
 */
export async function encodeLatents(options: EncodeOptions): Promise<EncodedLatents> {
  const { sources, flip, vaeKey, onProgress } = options;
  const cache = new LatentCache(options.cacheDir);
  const encoder = new Encoder(options);
  const sides = flip ? [false, true] : [false];
  const found: Tensor<'f32'>[][] = [];
  let encoded = 0;
  try {
    for (const [i, source] of sources.entries()) {
      const ofSample: Tensor<'f32'>[] = [];
      for (const mirrored of sides) {
        const { contentHash, bucket } = source;
        const key = { contentHash, bucket, flip: mirrored, vaeKey };
        let moments = await cache.get(key);
        if (!moments) {
          moments = await encoder.encode(source, mirrored);
          await cache.put(key, moments);
          encoded++;
        }
        ofSample.push(moments);
      }
      found.push(ofSample);
      onProgress(i + 1, sources.length);
    }
  } finally {
    await encoder.dispose();
  }
  return {
    encoded,
    moments: (sample, mirrored) => {
      const moments = found[sample]?.[mirrored ? 1 : 0];
      if (!moments)
        throw new Error(`internal: no latents of sample ${sample}, mirrored: ${mirrored}`);
      return moments;
    },
  };
}
