/** @file How group norm is dealt to blocks. */

import { describe, expect, test } from 'vitest';
import {
  groupNormBlock,
  mostParts,
  normedParts,
  summedParts,
  takesGroupNorm,
} from '../../../../src/runtime/torch/kernels/group-norm-blocks.ts';

const groups = 32;

describe.each(['f32', 'bf16', 'f16'] as const)('%s', (compute) => {
  const bytes = compute === 'f32' ? 4 : 2;

  test.each([64, 128, 256, 320, 512, 640, 960, 1280, 1920, 2560])('%i channels', (channels) => {
    expect(takesGroupNorm(compute, { channels, groups })).toBe(true);
    const { slice, rows, threads, adders } = groupNormBlock(compute, { channels, groups });
    // Whole groups, in whole sectors of memory.
    expect(channels % slice).toBe(0);
    expect(slice % (channels / groups)).toBe(0);
    expect((slice * bytes) % 32).toBe(0);
    const packs = (slice * bytes) / 16;
    expect(threads).toBe(Math.ceil((rows * packs) / 32) * 32);
    expect(threads).toBeLessThanOrEqual(256);
    expect(adders * (slice / (channels / groups))).toBeLessThanOrEqual(threads);
    for (const [images, pixels] of [
      [1, 1],
      [1, 64],
      [8, 4096],
      [1, 2 ** 18],
    ] as const) {
      const size = { images, channels, groups, pixels };
      const [summed, normed] = [summedParts(compute, size), normedParts(compute, size)];
      expect(summed.count).toBeLessThanOrEqual(mostParts);
      for (const { pixels: ofPart, count } of [summed, normed]) {
        expect(count * ofPart).toBeGreaterThanOrEqual(pixels);
        expect((count - 1) * ofPart).toBeLessThan(pixels);
      }
    }
  });
});

test('small images are dealt to more blocks than there are multiprocessors in an H100', () => {
  const size = { images: 1, channels: 320, groups, pixels: 4096 };
  const { slice } = groupNormBlock('bf16', size);
  expect([slice, summedParts('bf16', size).count]).toEqual([80, 82]);
  expect(normedParts('bf16', size)).toEqual({ pixels: 50, count: 82 });
});

test('channels that are no whole packs, and groups too large for a block, are not taken', () => {
  expect(takesGroupNorm('bf16', { channels: 36, groups: 4 })).toBe(false);
  expect(takesGroupNorm('f32', { channels: 8192, groups: 1 })).toBe(false);
});

test('slices are equal, however many groups there are', () => {
  for (const count of [2, 3, 4, 6, 12, 16]) {
    for (let ofGroup = 8; ofGroup <= 64; ofGroup += 8) {
      const channels = count * ofGroup;
      expect(channels % groupNormBlock('bf16', { channels, groups: count }).slice).toBe(0);
    }
  }
});
