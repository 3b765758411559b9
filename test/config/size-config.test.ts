/** @file Sizes that a configuration leaves to its base. */

import { expect, test } from 'vitest';
import { sizeConfig } from '../../src/config/size-config.ts';
import { load, minimal } from './fixture.ts';

const sizes = (native: number | null, ...overrides: string[]) => {
  const { data, preview } = sizeConfig(load(minimal, ...overrides).config, native);
  const { minSide, maxSide } = data.buckets;
  return [...data.resolution, minSide, maxSide, preview.width, preview.height];
};

test.each([
  [1024, [], [1024, 1024, 512, 2048, 1024, 1024]],
  [768, [], [768, 768, 384, 1536, 768, 768]],
  [512, [], [512, 512, 256, 1024, 512, 512]],
  // Nothing tells.
  [null, [], [512, 512, 256, 1024, 512, 512]],
  // The side of a square of 832×1216, in steps of 64.
  [1006, [], [1024, 1024, 512, 2048, 1024, 1024]],
  [128, ['data.buckets.step=32'], [128, 128, 64, 256, 128, 128]],
  [8, [], [64, 64, 64, 128, 64, 64]],
  [1e9, [], [4096, 4096, 2048, 4096, 4096, 4096]],
  // What is stated stays.
  [1024, ['data.resolution=[512, 768]'], [512, 768, 256, 1536, 512, 768]],
  [1024, ['preview.width=512'], [1024, 1024, 512, 2048, 512, 1024]],
  [1024, ['data.buckets.minSide=256'], [1024, 1024, 256, 2048, 1024, 1024]],
  [1024, ['data.buckets.maxSide=1024'], [1024, 1024, 512, 1024, 1024, 1024]],
  [1024, ['data.buckets.maxSide=256'], [1024, 1024, 256, 256, 1024, 1024]],
  [128, ['data.buckets.minSide=512'], [128, 128, 512, 512, 128, 128]],
] as const)('made at %s with %j', (native, overrides, expected) => {
  expect(sizes(native, ...overrides)).toEqual(expected);
});
