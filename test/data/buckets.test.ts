/** @file Buckets keep their bounds for any options, and images get the nearest. */

import { describe, expect, test } from 'vitest';
import {
  assignBucket,
  type BucketOptions,
  lowMaxSideWarning,
  makeBuckets,
} from '../../src/data/buckets.ts';
import { Rng } from '../../src/tensor/rng.ts';

const sdxl: BucketOptions = {
  resolution: 1024,
  enabled: true,
  step: 64,
  minSide: 256,
  maxSide: 2048,
  upscale: true,
};
const names = (options: BucketOptions) => makeBuckets(options).map((b) => `${b.width}x${b.height}`);
const place = (width: number, height: number, options: BucketOptions) =>
  assignBucket({ width, height }, makeBuckets(options), options);

test('any options: multiples of the step, within the sides and the area, no doubles, both ways up', () => {
  const rng = new Rng(3, 'bucket options');
  for (let run = 0; run < 300; run++) {
    const step = 16 * (1 + rng.integer(8));
    const minSide = step * (1 + rng.integer(6));
    const side = minSide + rng.integer(1000);
    const maxSide = rng.integer(2) ? side + step + rng.integer(1500) : undefined;
    const options = { ...sdxl, resolution: side, step, minSide, maxSide };
    const buckets = makeBuckets(options);
    expect(buckets.length).toBeGreaterThan(0);
    const all = names(options);
    expect(new Set(all).size).toBe(all.length);
    const known = new Set(all);
    const wrong = buckets.filter(
      ({ width, height }) =>
        width % step !== 0 ||
        height % step !== 0 ||
        width * height > side * side ||
        Math.min(width, height) < minSide ||
        Math.max(width, height) > (maxSide ?? Number.POSITIVE_INFINITY) ||
        !known.has(`${height}x${width}`),
    );
    expect(wrong).toEqual([]);
    for (let image = 0; image < 5; image++) {
      const width = 1 + rng.integer(4000);
      const height = 1 + rng.integer(4000);
      const { bucket, scale, cropLoss } = assignBucket({ width, height }, buckets, options);
      expect(buckets.includes(bucket)).toBe(true);
      expect(scale * width).toBeGreaterThan(bucket.width - 1e-6);
      expect(scale * height).toBeGreaterThan(bucket.height - 1e-6);
      const kept = (bucket.width * bucket.height) / (width * height * scale ** 2);
      expect(cropLoss).toBeCloseTo(1 - kept, 9);
    }
  }
});

describe('makeBuckets', () => {
  test('at 1024 has the sizes that SDXL was trained on', () => {
    expect(names(sdxl)).toHaveLength(41);
    expect(names(sdxl)).toEqual(
      expect.arrayContaining(['1024x1024', '832x1216', '1152x896', '1344x768']),
    );
  });

  test('without maxSide is bounded by the area alone', () => {
    const buckets = makeBuckets({ ...sdxl, maxSide: undefined });
    expect(Math.max(...buckets.map((b) => b.width))).toBe(4096);
    // Each is as large as the step allows: no side can grow.
    for (const { width, height } of buckets) {
      expect((Math.min(width, height) + 64) * Math.max(width, height)).toBeGreaterThan(1024 ** 2);
    }
  });

  test('has the square where the resolution is no multiple of the step', () => {
    expect(names({ ...sdxl, resolution: 1000 })).toContain('960x960');
  });

  test('takes an oblong resolution', () => {
    expect(names({ ...sdxl, resolution: [832, 1216] })).toContain('832x1216');
  });

  test('has one size when disabled', () => {
    expect(names({ ...sdxl, enabled: false, resolution: [640, 512] })).toEqual(['640x512']);
  });

  test.each([
    [{ step: 20 }, /buckets\.step 20/],
    [{ step: 0 }, /buckets\.step 0/],
    [{ minSide: 2000 }, /minSide 2000 .*1024 or less/],
    [{ maxSide: 128 }, /maxSide 128 is below/],
    [{ minSide: 1000, maxSide: 1010 }, /no bucket/],
    [{ enabled: false, resolution: 500 }, /resolution 500×500/],
  ])('refuses %j', (change, message) => {
    expect(() => makeBuckets({ ...sdxl, ...change })).toThrow(message);
  });

  test('warns where maxSide shrinks all but squares', () => {
    expect(lowMaxSideWarning({ ...sdxl, maxSide: 1024 })).toMatch(/maxSide 1024 .*1280 or more/);
    expect(lowMaxSideWarning(sdxl)).toBeNull();
    expect(lowMaxSideWarning({ ...sdxl, maxSide: undefined })).toBeNull();
    expect(lowMaxSideWarning({ ...sdxl, maxSide: 1024, enabled: false })).toBeNull();
  });
});

describe('assignBucket', () => {
  test('takes the nearest ratio and says what is lost', () => {
    expect(place(2000, 2000, sdxl)).toEqual({
      bucket: { width: 1024, height: 1024 },
      scale: 0.512,
      cropLoss: 0,
    });
    expect(place(1664, 2432, sdxl)).toMatchObject({
      bucket: { width: 832, height: 1216 },
      scale: 0.5,
    });
    expect(
      place(1000, 1000, { ...sdxl, enabled: false, resolution: [512, 256] }).cropLoss,
    ).toBeCloseTo(0.5);
  });

  test('treats wide and tall alike', () => {
    for (let long = 512; long < 3000; long += 37) {
      const { bucket } = place(512, long, sdxl);
      expect(place(long, 512, sdxl).bucket).toEqual({ width: bucket.height, height: bucket.width });
    }
  });

  test('enlarges by default, and tells', () => {
    expect(place(256, 256, sdxl)).toMatchObject({
      bucket: { width: 1024, height: 1024 },
      scale: 4,
    });
  });

  test('without upscale never enlarges', () => {
    const options = { ...sdxl, upscale: false };
    const rng = new Rng(5, 'image sizes');
    for (let run = 0; run < 500; run++) {
      const step = 32 * (1 + rng.integer(6));
      const coarse = { ...options, step, minSide: step };
      const image = { width: 256 + rng.integer(3000), height: 256 + rng.integer(3000) };
      const { bucket, scale } = assignBucket(image, makeBuckets(coarse), coarse);
      expect(scale).toBeLessThanOrEqual(1);
      expect(bucket.width * bucket.height).toBeLessThanOrEqual(1024 ** 2);
      expect([bucket.width % step, bucket.height % step]).toEqual([0, 0]);
      expect(Math.min(bucket.width, bucket.height)).toBeGreaterThanOrEqual(step);
      expect(Math.max(bucket.width, bucket.height)).toBeLessThanOrEqual(2048);
    }
    expect(place(700, 500, options).bucket).toEqual({ width: 640, height: 448 });
    expect(() => place(700, 200, options)).toThrow(/700×200 pixels .*256/);
  });
});
