/** @file What goes into the cache comes out, and only that. */

import { createHash } from 'node:crypto';
import { readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { contentHash } from '../../src/data/content-hash.ts';
import { LatentCache, type LatentKey, latentKeyText } from '../../src/data/latent-cache.ts';
import { TensorCache } from '../../src/data/tensor-cache.ts';
import { f32 } from '../../src/tensor/tensor.ts';
import { UserError } from '../../src/tensor/user-error.ts';
import { temporaryFolder } from './pictures.ts';

const tensor = f32([2, 3], [1, -2, 0.1, Number.NaN, Number.POSITIVE_INFINITY, -0]);

async function filled(key = 'a key, é') {
  const folder = join(await temporaryFolder(), 'cache');
  const cache = new TensorCache(folder, '.latent');
  await cache.put(key, tensor);
  return { folder, cache, key, path: cache.pathOf(key) };
}

test('gives back the bits, to another reader too', async () => {
  const { folder, key } = await filled();
  expect(await new TensorCache(folder, '.latent').get(key)).toEqual(tensor);
  expect(await readdir(folder)).toHaveLength(1);
});

test('takes scalars, and a view of a longer array', async () => {
  const { cache } = await filled();
  await cache.put('scalar', f32([], [3]));
  expect(await cache.get('scalar')).toEqual(f32([], [3]));
  await cache.put('view', f32([2], Float32Array.of(1, 2, 3, 4).subarray(1, 3)));
  expect([...((await cache.get('view'))?.data ?? [])]).toEqual([2, 3]);
});

test('has nothing under other keys', async () => {
  const { cache, path } = await filled();
  expect(await cache.get('another')).toBeNull();
  // Even where the file of another key lies in its place.
  await writeFile(cache.pathOf('another'), await readFile(path));
  expect(await cache.get('another')).toBeNull();
});

test('any flipped bit or missing end makes an entry absent, and it can be put again', async () => {
  const { cache, key, path } = await filled();
  const whole = await readFile(path);
  for (let at = 0; at < whole.length; at++) {
    const damaged = Buffer.from(whole);
    damaged[at] = damaged.readUInt8(at) ^ (1 << (at % 8));
    await writeFile(path, damaged);
    expect(await cache.get(key), `byte ${at}`).toBeNull();
  }
  for (let length = 0; length < whole.length; length += 5) {
    await writeFile(path, whole.subarray(0, length));
    expect(await cache.get(key), `${length} bytes`).toBeNull();
  }
  await cache.put(key, tensor);
  expect(await cache.get(key)).toEqual(tensor);
});

test("a folder that cannot be made is the user's to mend", async () => {
  const file = join(await temporaryFolder(), 'file');
  await writeFile(file, '');
  const put = new TensorCache(join(file, 'cache'), '.latent').put('key', tensor);
  await expect(put).rejects.toThrow(UserError);
  await expect(put).rejects.toThrow(/file.*cache: the cache cannot be written to/);
});

describe('prune', () => {
  test('removes what was not used for longest, and old temporary files', async () => {
    const { cache, folder } = await filled('first');
    for (const key of ['second', 'third']) await cache.put(key, tensor);
    const hours = (n: number) => new Date(Date.now() - n * 3_600_000);
    await utimes(cache.pathOf('first'), hours(3), hours(3));
    await utimes(cache.pathOf('second'), hours(2), hours(2));
    await utimes(cache.pathOf('third'), hours(1), hours(1));
    expect(await cache.get('first')).toEqual(tensor);
    const interrupted = join(folder, 'x.latent.1-ab.tmp');
    await writeFile(interrupted, 'x');
    await utimes(interrupted, hours(2), hours(2));
    await writeFile(join(folder, 'y.latent.2-cd.tmp'), 'in progress');
    await writeFile(join(folder, 'README.txt'), 'not ours');

    const { length } = await readFile(cache.pathOf('first'));
    const { removed, bytes } = await cache.prune(2 * length + 2);
    expect({ removed, bytes: bytes <= 2 * length + 2 }).toEqual({ removed: 1, bytes: true });
    expect(await cache.get('second')).toBeNull();
    expect(await cache.get('first')).toEqual(tensor);
    expect((await readdir(folder)).filter((name) => !name.endsWith('.latent')).toSorted()).toEqual([
      'README.txt',
      'y.latent.2-cd.tmp',
    ]);
  });

  test('of a folder that is not there does nothing', async () => {
    const cache = new TensorCache(join(await temporaryFolder(), 'none'), '.latent');
    expect(await cache.prune(0)).toEqual({ removed: 0, bytes: 0 });
  });
});

test('latents are kept apart by image, bucket, side and VAE', async () => {
  const key: LatentKey = {
    contentHash: 'abc',
    bucket: { width: 512, height: 768 },
    flip: false,
    vaeKey: 'vae',
  };
  const others: LatentKey[] = [
    { ...key, contentHash: 'abd' },
    { ...key, bucket: { width: 768, height: 512 } },
    { ...key, flip: true },
    { ...key, vaeKey: 'vae2' },
  ];
  expect(new Set([key, ...others].map(latentKeyText)).size).toBe(5);
  const cache = new LatentCache(await temporaryFolder());
  await cache.put(key, tensor);
  expect(await cache.get(key)).toEqual(tensor);
  for (const other of others) expect(await cache.get(other)).toBeNull();
});

test('contentHash follows the bytes, and names a file that is missing', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'a.png');
  const bytes = Buffer.alloc(300_000, 7);
  await writeFile(path, bytes);
  expect(await contentHash(path)).toBe(createHash('sha256').update(bytes).digest('hex'));
  await expect(contentHash(join(folder, 'b.png'))).rejects.toThrow(
    /b\.png: cannot be read \(ENOENT\)/,
  );
});
