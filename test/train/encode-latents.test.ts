/** @file Latents: encoded once, read from the cache afterwards. */

import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { contentHash } from '../../src/data/content-hash.ts';
import { createReferenceExecutor } from '../../src/runtime/reference/reference-executor.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { type EncodeOptions, encodeLatents } from '../../src/train/encode-latents.ts';
import { withMemory } from '../helpers/little-memory.ts';
import { tinyExecutor, tinyModel, tinyParameters } from './tiny-training.ts';

// Whole networks in plain loops; a second or so on a machine that has nothing else to do.
vi.setConfig({ testTimeout: 120_000 });

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sdl-train-latents-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const side = 16;

/** A picture of random pixels; mirrored, it is another file with the same. */
async function source(name: string, seed: number, mirrored = false) {
  const path = join(folder, name);
  const rng = new Rng(seed, 'pixels');
  const pixels = Uint8Array.from({ length: 3 * side * side }, () => rng.integer(256));
  const image = sharp(pixels, { raw: { width: side, height: side, channels: 3 } });
  await (mirrored ? image.flop() : image).png().toFile(path);
  return { path, contentHash: await contentHash(path), bucket: { width: side, height: side } };
}

const options = (
  sources: EncodeOptions['sources'],
  more: Partial<EncodeOptions> = {},
): EncodeOptions => ({
  sources,
  flip: false,
  cacheDir: join(folder, 'cache'),
  vaeKey: 'vae',
  shapes: tinyModel.shapes,
  createExecutor: async () => tinyExecutor(),
  onProgress: () => {},
  ...more,
});

const noExecutor = {
  createExecutor: () => Promise.reject(new Error('nothing is to be encoded')),
};

test('each picture is encoded once; a changed one, another VAE or another size again', async () => {
  const sources = [await source('a.png', 1), await source('b.png', 2)];
  const told: string[] = [];
  const first = await encodeLatents(
    options(sources, { onProgress: (done, total) => told.push(`${done}/${total}`) }),
  );
  expect([first.encoded, told]).toEqual([2, ['1/2', '2/2']]);
  expect(first.moments(0, false).shape).toEqual([8, 2, 2]);

  const second = await encodeLatents(options(sources, noExecutor));
  expect(second.encoded).toBe(0);
  expect(second.moments(1, false)).toEqual(first.moments(1, false));

  const changed = [sources[0]!, await source('b.png', 3)];
  const third = await encodeLatents(options(changed));
  expect(third.encoded).toBe(1);
  expect(third.moments(1, false)).not.toEqual(first.moments(1, false));
  expect((await encodeLatents(options(sources, { vaeKey: 'another' }))).encoded).toBe(2);
});

test('mirrored latents are those of the mirrored picture', async () => {
  const sources = [await source('c.png', 4), await source('mirrored.png', 4, true)];
  const { moments, encoded } = await encodeLatents(options(sources, { flip: true }));
  expect(encoded).toBe(4);
  expect(moments(0, true)).toEqual(moments(1, false));
  expect(moments(0, true)).not.toEqual(moments(0, false));
});

test('latents that are no numbers end the run with the picture’s name, and are not kept', async () => {
  const huge = {
    read: (name: string) => {
      const values = tinyParameters.read(name);
      return name === 'vae.quant_conv.weight' ? values.map((v) => v / 0) : values;
    },
  };
  const cacheDir = join(folder, 'cache-of-nan');
  const encoding = encodeLatents(
    options([await source('d.png', 5)], {
      cacheDir,
      createExecutor: async () => createReferenceExecutor({ parameters: huge, precision: 'f32' }),
    }),
  );
  await expect(encoding).rejects.toThrow(/d\.png: the base model's VAE makes .*use another VAE/);
  expect(() => readdirSync(cacheDir)).toThrow();
});

test('a picture that the device has no memory for is named', async () => {
  const sources = [await source('large.png', 8)];
  const createExecutor = async () => withMemory(tinyExecutor(), 1e3);
  await expect(encodeLatents(options(sources, { createExecutor }))).rejects.toThrow(
    /large\.png: the device has no memory to encode a picture of 16×16 .*; lower data\.resolution/,
  );
});
