/** @file Aspect-ratio buckets: the sizes that images are trained at, and which image goes to which. */

import { UserError } from '../tensor/user-error.ts';

/** A size in pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface BucketOptions {
  /** The side of a square, or [width, height]; its area is the most that a bucket may have. */
  readonly resolution: number | readonly [number, number];
  /** Without buckets every image is cropped to `resolution`. */
  readonly enabled: boolean;
  /** Sides are multiples of it, in pixels. */
  readonly step: number;
  readonly minSide: number;
  /** By default as long as the area allows beside `minSide`. */
  readonly maxSide?: number | undefined;
  /** Whether images smaller than their bucket are enlarged; otherwise they get a smaller one. */
  readonly upscale: boolean;
}

/** An image in its bucket. */
export interface BucketFit {
  readonly bucket: Size;
  /** What the image is scaled with to cover the bucket; above 1 it is enlarged. */
  readonly scale: number;
  /** Share of the picture that the crop cuts off, 0 to 1. */
  readonly cropLoss: number;
}

/** The VAE halves a side three times. */
const latentStride = 8;

const floorTo = (n: number, step: number) => Math.floor(n / step) * step;

/** `832×1216` */
export function sizeText({ width, height }: Size): string {
  return `${width}×${height}`;
}

function resolutionOf({ resolution }: BucketOptions): Size {
  const [width, height] = typeof resolution === 'number' ? [resolution, resolution] : resolution;
  return { width, height };
}

/** The longest side that is of use: the other one is then `minSide`. */
function maxSideOf(options: BucketOptions): number {
  const { width, height } = resolutionOf(options);
  const longest = floorTo((width * height) / options.minSide, options.step);
  return Math.min(options.maxSide ?? longest, longest);
}

function checkOptions(options: BucketOptions): void {
  const { enabled, step, minSide, maxSide } = options;
  const { width, height } = resolutionOf(options);
  const text = sizeText({ width, height });
  if (!enabled) {
    if ([width, height].every((side) => side > 0 && side % latentStride === 0)) return;
    throw new UserError(
      `data.resolution ${text} without buckets: both sides must be multiples of ${latentStride}`,
    );
  }
  if (!Number.isInteger(step) || step <= 0 || step % latentStride !== 0) {
    throw new UserError(
      `data.buckets.step ${step} is not a multiple of ${latentStride}; 64 is usual`,
    );
  }
  if (maxSide !== undefined && maxSide < minSide) {
    throw new UserError(`data.buckets.maxSide ${maxSide} is below data.buckets.minSide ${minSide}`);
  }
  if (minSide ** 2 > width * height) {
    throw new UserError(
      `data.buckets.minSide ${minSide} leaves no bucket within resolution ${text}; lower it to ${floorTo(Math.sqrt(width * height), step)} or less`,
    );
  }
}

/**
 * All buckets: for each width the greatest height within the resolution's area, and each turned on
 * its side. In order of width, then height.
 * @throws UserError where the options leave none.
 */
export function makeBuckets(options: BucketOptions): Size[] {
  checkOptions(options);
  const { width, height } = resolutionOf(options);
  if (!options.enabled) return [{ width, height }];
  const { step } = options;
  const area = width * height;
  const minSide = Math.ceil(options.minSide / step) * step;
  const maxSide = floorTo(maxSideOf(options), step);
  const found = new Map<string, Size>();
  const add = (w: number, h: number) => {
    if (Math.min(w, h) < minSide || Math.max(w, h) > maxSide) return;
    found.set(`${w}x${h}`, { width: w, height: h });
  };
  for (let side = minSide; side <= maxSide; side += step) {
    const other = Math.min(floorTo(area / side, step), maxSide);
    add(side, other);
    add(other, side);
  }
  // Where no width's height equals it, such as 960 for a resolution of 1000.
  const square = floorTo(Math.sqrt(area), step);
  add(square, square);
  if (found.size === 0) {
    throw new UserError(
      `no bucket has sides from ${options.minSide} to ${maxSide} in steps of ${step} within resolution ${sizeText({ width, height })}; lower data.buckets.minSide or data.buckets.step, or raise data.buckets.maxSide`,
    );
  }
  return [...found.values()].sort((a, b) => a.width - b.width || a.height - b.height);
}

/**
 * A warning where `maxSide` is so low that all but square pictures train at a fraction of the
 * resolution (at 1024 with a maxSide of 1024, 3:4 has 768×1024, a quarter less), else null.
 */
export function lowMaxSideWarning(options: BucketOptions): string | null {
  const { enabled, maxSide, minSide, step } = options;
  const { width, height } = resolutionOf(options);
  const side = Math.sqrt(width * height);
  // 3:2 is the widest of the common camera formats.
  const useful = Math.ceil((side * Math.sqrt(1.5)) / step) * step;
  if (!enabled || maxSide === undefined || maxSide >= useful || side <= minSide) return null;
  return `data.buckets.maxSide ${maxSide} keeps pictures that are not square below the area of resolution ${sizeText({ width, height })}; set ${useful} or more (${floorTo(2 * side, step)} is usual)`;
}

function fitOf(image: Size, bucket: Size): BucketFit {
  const scale = Math.max(bucket.width / image.width, bucket.height / image.height);
  const shown = (bucket.width * bucket.height) / (image.width * image.height * scale * scale);
  return { bucket, scale, cropLoss: Math.max(0, 1 - shown) };
}

/** How far two aspect ratios are apart; wide and tall count alike. */
const ratioDistance = (a: Size, b: Size) =>
  Math.abs(Math.log((a.width * b.height) / (a.height * b.width)));

function nearestBucket(image: Size, buckets: readonly Size[]): Size {
  let best: Size | undefined;
  for (const bucket of buckets) {
    if (!best || ratioDistance(image, bucket) < ratioDistance(image, best)) best = bucket;
  }
  if (!best) throw new Error('internal: no buckets');
  return best;
}

/**
 * The largest size in steps that the image covers without being enlarged. It is within the area: an
 * image with more pixels than that covers the bucket nearest to it.
 */
function ownBucket(image: Size, options: BucketOptions): Size {
  const { step } = options;
  const maxSide = floorTo(maxSideOf(options), step);
  const minSide = Math.ceil(options.minSide / step) * step;
  const width = Math.min(floorTo(image.width, step), maxSide);
  const height = Math.min(floorTo(image.height, step), maxSide);
  if (Math.min(width, height) < minSide) {
    throw new UserError(
      `${sizeText(image)} pixels are too few for the smallest side of ${minSide}; enlarge or remove the image, lower data.buckets.minSide, or set data.buckets.upscale: true`,
    );
  }
  return { width, height };
}

/**
 * The bucket of an image: the one nearest in aspect ratio. Without `upscale`, an image that does not
 * cover it gets the largest size that it does cover.
 * @throws UserError without the image's name where it is too small and may not be enlarged.
 */
export function assignBucket(
  image: Size,
  buckets: readonly Size[],
  options: BucketOptions,
): BucketFit {
  const nearest = fitOf(image, nearestBucket(image, buckets));
  if (nearest.scale <= 1 || options.upscale || !options.enabled) return nearest;
  return fitOf(image, ownBucket(image, options));
}
