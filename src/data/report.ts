/** @file Facts about a data set for `sdl-train check`: what would be trained, and how well it fits. */

import { batchesOfEpoch } from './batch-plan.ts';
import { type BucketOptions, lowMaxSideWarning, type Size, sizeText } from './buckets.ts';
import type { DatasetFolder } from './image-folders.ts';
import { type PreparedSample, prepareSamples } from './prepare-samples.ts';
import { problemOf } from './problems.ts';
import { verifyImage } from './read-image.ts';
import { type Sample, type ScanOptions, scanFolders } from './scan-folder.ts';

/** A bucket that is in use. */
interface BucketUse {
  readonly bucket: Size;
  readonly images: number;
  /** Images × repeats in the first epoch, prior images included. */
  readonly visits: number;
  readonly batches: number;
  /** Items of the last batch where it is not full, else 0. */
  readonly incomplete: number;
}

/** An image and its place in its bucket. */
export interface ImageUse {
  readonly path: string;
  readonly size: Size;
  readonly bucket: Size;
  /** Above 1 it is enlarged. */
  readonly scale: number;
  /** Share that is cut off, 0 to 1. */
  readonly cropLoss: number;
}

export interface DatasetReport {
  readonly images: number;
  readonly priorImages: number;
  /** Training images × repeats. */
  readonly visits: number;
  /** Batches of the first epoch, of `batchSize` each. */
  readonly stepsPerEpoch: number;
  /** Most used first. */
  readonly buckets: readonly BucketUse[];
  /** Each image that can be read; the greatest crop loss first. */
  readonly imageUses: readonly ImageUse[];
  readonly meanCropLoss: number;
  /** Images smaller than their bucket, which are enlarged; the smallest first. */
  readonly enlarged: readonly ImageUse[];
  /** Paths of files with the same content. */
  readonly duplicates: readonly (readonly string[])[];
  /** Every caption with its sample, for a caller that counts tokens. */
  readonly samples: readonly Sample[];
  /** Training would refuse; broken images included. */
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

/** What `check` is to look at; the same values as training takes. */
export interface ReportOptions {
  readonly folders: readonly DatasetFolder[];
  readonly scan: ScanOptions;
  readonly buckets: BucketOptions;
  readonly batchSize: number;
  readonly seed: number;
}

function findDuplicates(samples: readonly PreparedSample[]): string[][] {
  const paths = new Map<string, Set<string>>();
  for (const { contentHash, path } of samples) {
    paths.set(contentHash, (paths.get(contentHash) ?? new Set()).add(path));
  }
  return [...paths.values()].filter((same) => same.size > 1).map((same) => [...same]);
}

function bucketUses(samples: readonly PreparedSample[], options: ReportOptions): BucketUse[] {
  const plan = samples.map(({ fit, repeats, prior }) => ({ bucket: fit.bucket, repeats, prior }));
  const uses = new Map<string, BucketUse>();
  for (const { fit } of samples) {
    const name = sizeText(fit.bucket);
    const images = (uses.get(name)?.images ?? 0) + 1;
    uses.set(name, { bucket: fit.bucket, images, visits: 0, batches: 0, incomplete: 0 });
  }
  for (const { bucket, items } of batchesOfEpoch(plan, { ...options, flip: false }, 0)) {
    const use = uses.get(sizeText(bucket))!;
    uses.set(sizeText(bucket), {
      ...use,
      visits: use.visits + items.length,
      batches: use.batches + 1,
      incomplete: items.length < options.batchSize ? items.length : use.incomplete,
    });
  }
  return [...uses.values()].sort((a, b) => b.visits - a.visits);
}

/** Decodes every image; the problems, with those of the samples that do not decode taken out. */
async function verifyAll(
  samples: readonly PreparedSample[],
): Promise<{ readonly whole: PreparedSample[]; readonly problems: string[] }> {
  const whole: PreparedSample[] = [];
  const problems: string[] = [];
  for (const sample of samples) {
    try {
      await verifyImage(sample.path);
      whole.push(sample);
    } catch (error) {
      problems.push(problemOf(error));
    }
  }
  return { whole, problems };
}

function useOf({ path, header, fit }: PreparedSample): ImageUse {
  return { path, size: { width: header.width, height: header.height }, ...fit };
}

/**
 * Reads and decodes the whole data set. Nothing is thrown for what the user can mend in the images
 * and captions; wrong bucket options throw a UserError.
 */
export async function reportDataset(options: ReportOptions): Promise<DatasetReport> {
  const scan = await scanFolders(options.folders, options.scan);
  const { prepared, problems } = await prepareSamples(scan.samples, options.buckets);
  const verified = await verifyAll(prepared);
  const samples = verified.whole;
  const uses = samples.map(useOf);
  const buckets = bucketUses(samples, options);
  const trained = samples.filter((sample) => !sample.prior);
  const lowMaxSide = lowMaxSideWarning(options.buckets);
  return {
    images: trained.length,
    priorImages: samples.length - trained.length,
    visits: trained.reduce((sum, { repeats }) => sum + repeats, 0),
    stepsPerEpoch: buckets.reduce((sum, { batches }) => sum + batches, 0),
    buckets,
    imageUses: uses.toSorted((a, b) => b.cropLoss - a.cropLoss),
    meanCropLoss: uses.reduce((sum, { cropLoss }) => sum + cropLoss, 0) / Math.max(uses.length, 1),
    enlarged: uses.filter(({ scale }) => scale > 1).sort((a, b) => b.scale - a.scale),
    duplicates: findDuplicates(samples),
    samples: scan.samples,
    problems: [...scan.problems, ...problems, ...verified.problems],
    warnings: lowMaxSide === null ? scan.warnings : [...scan.warnings, lowMaxSide],
  };
}
