/** @file The sizes of a run's pictures, where the configuration leaves them to its base. */

import type { Config, UnsizedConfig } from './resolve-config.ts';

/** Pictures are of this side where nothing says better, as for SD 1.x. */
const usualResolution = 512;

/** Largest side that a configuration may state, too. */
const longestSide = 4096;

type Sized = Pick<Config['data'], 'resolution' | 'buckets'> &
  Pick<Config['preview'], 'width' | 'height'>;

/**
 * Sizes that follow from the resolution: buckets from half of its side to twice it, previews as large
 * as it.
 * @param resolution width and height in pixels
 */
function sizesAt(
  { data: { buckets }, preview }: Pick<UnsizedConfig, 'data' | 'preview'>,
  resolution: readonly [number, number],
): Sized {
  const { step } = buckets;
  const [width, height] = resolution;
  const half = Math.max(step, Math.floor(Math.min(width, height) / 2 / step) * step);
  const twice = Math.min(longestSide, Math.floor((2 * Math.max(width, height)) / step) * step);
  const minSide = buckets.minSide ?? Math.min(half, buckets.maxSide ?? half);
  const maxSide = buckets.maxSide ?? Math.max(twice, minSide);
  return {
    resolution,
    buckets: { ...buckets, minSide, maxSide },
    width: preview.width ?? width,
    height: preview.height ?? height,
  };
}

/**
 * The configuration with all its sizes.
 * @param native side of the pictures that the base was made at, in pixels; null where nothing tells
 */
export function sizeConfig(config: UnsizedConfig, native: number | null): Config {
  const { data, preview } = config;
  const { step } = data.buckets;
  const side = Math.min(
    Math.max(step, Math.round((native ?? usualResolution) / step) * step),
    longestSide,
  );
  const { width, height, ...sizes } = sizesAt(config, data.resolution ?? [side, side]);
  return { ...config, data: { ...data, ...sizes }, preview: { ...preview, width, height } };
}
