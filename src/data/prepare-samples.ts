/** @file Looks at each image of a data set before training: its size, its bucket, its content's hash. */

import { assignBucket, type BucketFit, type BucketOptions, makeBuckets } from './buckets.ts';
import { contentHash } from './content-hash.ts';
import { problemOf } from './problems.ts';
import { type ImageHeader, probeImage } from './read-image.ts';
import type { Sample } from './scan-folder.ts';

/** A sample with what its image's header and content say. */
export interface PreparedSample extends Sample {
  readonly header: ImageHeader;
  readonly fit: BucketFit;
  /** SHA-256 of the image file. */
  readonly contentHash: string;
}

/**
 * Probes, hashes and fits the images, in order; headers only, so a picture that is cut short shows
 * when it is read. What the user can mend is in `problems`; such samples are left out.
 */
export async function prepareSamples(
  samples: readonly Sample[],
  options: BucketOptions,
): Promise<{ readonly prepared: readonly PreparedSample[]; readonly problems: readonly string[] }> {
  const buckets = makeBuckets(options);
  const prepared: PreparedSample[] = [];
  const problems: string[] = [];
  for (const sample of samples) {
    try {
      const header = await probeImage(sample.path);
      const hash = await contentHash(sample.path);
      try {
        const fit = assignBucket(header, buckets, options);
        prepared.push({ ...sample, header, fit, contentHash: hash });
      } catch (error) {
        problems.push(`${sample.path}: ${problemOf(error)}`);
      }
    } catch (error) {
      problems.push(problemOf(error));
    }
  }
  return { prepared, problems };
}
