/** @file Models from a hub on this machine: whole, cut off, damaged, refused, and there already. */

import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { fetchModel, type HubProgress } from '../../src/hub/fetch-model.ts';
import type { HubRequest } from '../../src/hub/hub-settings.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { UserError } from '../../src/tensor/user-error.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';
import { commit, type Faults, startHub } from './hub-server.ts';

vi.setConfig({ testTimeout: 60_000 });

const at = temporaryFolder();
const random = (size: number, name: string) => {
  const rng = new Rng(1, name);
  return Buffer.from(Uint8Array.from({ length: size }, () => rng.integer(256)));
};
const model = random(200_000, 'model');
const small = {
  'README.md': Buffer.from('a model'),
  'sub/other.safetensors': random(2000, 'other'),
};
const single = { 'model.safetensors': model, ...small };
const folder = {
  ...small,
  'model_index.json': Buffer.from(JSON.stringify({ unet: ['diffusers', 'UNet'], text_encoder_2: ['transformers', 'CLIP'] })),
  'scheduler/scheduler_config.json': Buffer.from('{}'),
  'unet/config.json': Buffer.from('{"a":1}'),
  'unet/diffusion_pytorch_model.safetensors.index.json': Buffer.from('{}'),
  'unet/diffusion_pytorch_model-00001-of-00002.safetensors': random(5000, 'u1'),
  'unet/diffusion_pytorch_model-00002-of-00002.safetensors': random(3000, 'u2'),
  'unet/diffusion_pytorch_model.bin': random(4000, 'pickle'),
  'vae/config.json': Buffer.from('{"a":2}'),
  'vae/diffusion_pytorch_model.fp16.safetensors': random(2500, 'v'),
  'text_encoder/config.json': Buffer.from('{"a":3}'),
  'text_encoder/model.safetensors': random(2600, 't'),
  'text_encoder_2/config.json': Buffer.from('{"a":4}'),
  'text_encoder_2/model.safetensors': random(2700, 't2'),
  'tokenizer/vocab.json': Buffer.from('{}'),
}; // biome-ignore format: a table

/** Asks a hub with these files, or one that was started before. */
async function setUp(
  files: Readonly<Record<string, Buffer>>,
  faults: Faults = {},
  stallAfter = 60_000,
) {
  const server = await startHub(files, faults);
  const progress: HubProgress[] = [];
  const env = { HF_ENDPOINT: server.endpoint, HF_HOME: at('home') };
  const get = (changes: Partial<HubRequest> = {}, moreEnv = {}) =>
    fetchModel(
      {
        repo: 'someone/model',
        revision: 'main',
        file: null,
        token: null,
        cacheDir: null,
        ...changes,
      },
      {
        env: { ...env, ...moreEnv },
        onProgress: (p) => progress.push(p),
        wait: 1,
        stallAfter,
      },
    );
  return { server, progress, get };
}

/** The one line of a refusal; nothing that was not whole has got a name. */
async function refusal(action: Promise<unknown>): Promise<string> {
  const error = await action.then(() => null, (reason: unknown) => reason);
  expect(error).toBeInstanceOf(UserError);
  const { message } = error as UserError;
  expect(message).not.toMatch(/\p{Cc}|internal/u);
  const named = existsSync(at('home')) ? readdirSync(at('home'), { recursive: true, encoding: 'utf8' }) : [];
  expect(named.filter((path) => /snapshots|refs/.test(path))).toEqual([]);
  return message;
} // biome-ignore format: one line a step

const repository = (...parts: string[]) => at('home', 'hub', 'models--someone--model', ...parts);
const largeAsked = (asked: readonly string[]) => asked.filter((line) => line.startsWith('store'));

describe('a single file', () => {
  test('comes through a redirect, into the folder that other tools share, and is asked for once', async () => {
    const { server, progress, get } = await setUp(single);
    const path = await get();
    expect(path).toBe(repository('snapshots', commit, 'model.safetensors'));
    expect(readFileSync(path).equals(model)).toBe(true);
    expect(readFileSync(repository('refs', 'main'), 'utf8')).toBe(commit);
    expect(readdirSync(repository('blobs'))).toHaveLength(1);
    expect(progress.at(-1)).toEqual({
      path: 'model.safetensors',
      done: model.length,
      total: model.length,
    });
    const questions = server.asked.length;
    expect(await get({ file: 'model.safetensors' })).toBe(path);
    expect(server.asked).toHaveLength(questions);
  });

  test('by its name, a revision and a commit', async () => {
    const { server, get } = await setUp(single);
    const file = 'sub/other.safetensors';
    expect(readFileSync(await get({ file, revision: 'v1' }))).toEqual(single[file]);
    expect(readFileSync(repository('refs', 'v1'), 'utf8')).toBe(commit);
    expect(await get({ revision: commit })).toContain('model.safetensors');
    expect(existsSync(repository('refs', commit))).toBe(false);
    expect(largeAsked(server.asked)).toHaveLength(2);
  });

  test('is used offline, also where the hub does not answer', async () => {
    const { server, get } = await setUp(single);
    const path = await get();
    await server.stop();
    expect(await get()).toBe(path);
    expect(await get({}, { HF_HUB_OFFLINE: '1' })).toBe(path);
    expect(await get({ file: 'model.safetensors' })).toBe(path);
  });

  test('offline, what is not there is said to be missing', async () => {
    const { server, get } = await setUp(single);
    expect(await refusal(get({}, { HF_HUB_OFFLINE: 'on' }))).toContain('HF_HUB_OFFLINE forbids');
    expect(server.asked).toEqual([]);
  });

  test('several to choose from', async () => {
    const { get } = await setUp({ ...single, 'b.safetensors': random(1500, 'b') });
    expect(await refusal(get())).toContain(
      'name one as hub.file: "model.safetensors", "b.safetensors"',
    );
    expect(await refusal(get({ file: 'c.safetensors' }))).toContain(
      'there is no file "c.safetensors" in it',
    );
  });

  test('nothing that can be read', async () => {
    const { get } = await setUp({ 'model.ckpt': random(1500, 'b') });
    expect(await refusal(get())).toContain('there is no model in it that can be read');
  });
});

describe('a folder in diffusers’ layout', () => {
  test('all of it but tokenizers and pickles', async () => {
    const { server, progress, get } = await setUp(folder);
    const path = await get();
    expect(path).toBe(repository('snapshots', commit));
    const names = readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) => statSync(join(path, name)).isFile());
    const wanted = Object.keys(folder).filter((name) => !/README|sub|\.bin|tokenizer/.test(name));
    expect(names.sort()).toEqual(wanted.sort());
    for (const name of wanted) expect(readFileSync(join(path, name))).toEqual(folder[name as 'README.md']);
    expect(progress.at(-1)!.done).toBe(progress.at(-1)!.total);
    const questions = server.asked.length;
    expect(await get()).toBe(path);
    expect(server.asked).toHaveLength(questions);
  }); // biome-ignore format: one line a claim

  test('with a part missing it is not taken for whole', async () => {
    const { server, get } = await setUp(folder);
    const path = await get();
    for (const part of [
      'text_encoder_2',
      'unet/diffusion_pytorch_model-00002-of-00002.safetensors',
      'model_index.json',
    ]) {
      rmSync(join(path, part), { recursive: true });
      await expect(get({}, { HF_HUB_OFFLINE: '1' })).rejects.toThrow('not, or not wholly');
      expect(await get()).toBe(path);
      expect(existsSync(join(path, part))).toBe(true);
    }
    // The contents were there all the time.
    expect(largeAsked(server.asked)).toHaveLength(5);
  });

  test('without weights that can be read', async () => {
    const { 'vae/diffusion_pytorch_model.fp16.safetensors': _, ...files } = folder;
    expect(await refusal((await setUp(files)).get())).toContain(
      'its vae cannot be used: no weights as .safetensors',
    );
  });
});

describe('a connection that is cut', () => {
  test('goes on where it was', async () => {
    const { server, get } = await setUp(single, { cuts: 3, cutAfter: 50_000 });
    expect(readFileSync(await get()).equals(model)).toBe(true);
    const [first, ...rest] = largeAsked(server.asked);
    expect(first).not.toContain('bytes=');
    expect(rest.map((line) => Number(/bytes=(\d+)-$/.exec(line)?.[1]) > 0)).toEqual([
      true,
      true,
      true,
    ]);
  });

  test('for good: one line, what came is kept, and the next run goes on', async () => {
    const { server, get } = await setUp(single, { cuts: 1000, cutAt: 120_000 });
    expect(await refusal(get())).toMatch(/cannot be reached \(the connection was cut\).*is kept/);
    const [partial] = readdirSync(repository('blobs'));
    expect(partial).toMatch(/\.incomplete$/);
    expect(statSync(repository('blobs', partial!)).size).toBe(120_000);
    server.faults.cuts = 0;
    server.asked.length = 0;
    expect(readFileSync(await get()).equals(model)).toBe(true);
    expect(largeAsked(server.asked)).toEqual(['store /model.safetensors bytes=120000-']);
  });

  test('goes on with what an earlier run, or another tool, has left', async () => {
    const { server, get } = await setUp(single);
    const path = await get();
    const [blob] = readdirSync(repository('blobs'));
    rmSync(repository(), { recursive: true });
    mkdirSync(repository('blobs'), { recursive: true });
    writeFileSync(repository('blobs', `${blob}.incomplete`), model.subarray(0, 150_000));
    server.asked.length = 0;
    expect(await get()).toBe(path);
    expect(readFileSync(path).equals(model)).toBe(true);
    expect(largeAsked(server.asked)).toEqual(['store /model.safetensors bytes=150000-']);
    expect(readdirSync(repository('blobs'))).toEqual([blob]);
  });

  test('that sends no more is given up and goes on', async () => {
    const { server, get } = await setUp(single, { cuts: 1, cutAt: 70_000, stalls: true }, 1000);
    expect(readFileSync(await get()).equals(model)).toBe(true);
    expect(largeAsked(server.asked).at(-1)).toBe('store /model.safetensors bytes=70000-');
  });

  test('a server without ranges sends all of it again', async () => {
    const { get } = await setUp(single, { cuts: 1, cutAfter: 50_000, noRanges: true });
    expect(readFileSync(await get()).equals(model)).toBe(true);
  });

  test('the API that is busy is asked again', async () => {
    const { server, get } = await setUp(single, { unavailable: 1 });
    expect(existsSync(await get())).toBe(true);
    server.faults.unavailable = 99;
    rmSync(repository(), { recursive: true });
    expect(await refusal(get())).toContain('answers with status 503; try again later');
  });
});

describe('a wrong checksum', () => {
  test('once: it is loaded again', async () => {
    const { server, get } = await setUp(single, { wrongBytes: 1 });
    expect(readFileSync(await get()).equals(model)).toBe(true);
    expect(largeAsked(server.asked)).toHaveLength(2);
  });

  test('of what an earlier run has left', async () => {
    const { get } = await setUp(single);
    const path = await get();
    const [blob] = readdirSync(repository('blobs'));
    rmSync(repository(), { recursive: true });
    mkdirSync(repository('blobs'), { recursive: true });
    writeFileSync(repository('blobs', `${blob}.incomplete`), Buffer.alloc(150_000));
    expect(await get()).toBe(path);
    expect(readFileSync(path).equals(model)).toBe(true);
  });

  test('again and again: nothing is kept', async () => {
    const { get } = await setUp(single, { wrongBytes: 99 });
    expect(await refusal(get())).toMatch(
      /^model\.safetensors: what was downloaded is damaged, its checksum/,
    );
    expect(readdirSync(repository('blobs'))).toEqual([]);
  });

  test('of a small file, which has Git’s hash', async () => {
    const { server, get } = await setUp(folder, { wrongBytes: 1 });
    expect(existsSync(await get())).toBe(true);
    expect(server.asked.filter((line) => line.endsWith('model_index.json'))).toHaveLength(2);
  });
});

describe('what the hub refuses', () => {
  test('401 without a token, and with a wrong one; the token never leaves the hub', async () => {
    const { server, get } = await setUp(single, { token: 'hf_right' });
    expect(await refusal(get())).toMatch(
      /someone\/model: the hub wants to know who asks \(401\).*HF_TOKEN/,
    );
    expect(await refusal(get({ token: 'hf_wrong' }))).toContain('does not accept the token (401)');
    expect(await refusal(get({}, { HF_TOKEN: 'secret words' }))).not.toContain('secret');
    mkdirSync(at('home'), { recursive: true });
    writeFileSync(at('home', 'token'), 'hf_right\n');
    expect(existsSync(await get())).toBe(true);
    expect(server.tokensAtStore).toEqual([undefined]);
  });

  test('403 for terms that were not accepted', async () => {
    const { get } = await setUp(single, { isGated: true });
    expect(await refusal(get())).toMatch(/gated; open https:\/\/huggingface\.co\/someone\/model/);
  });

  test.each([
    [{ repo: 'someone/else' }, 'there is no such model on the hub (404)'],
    [{ revision: 'v9' }, 'there is no revision "v9" of it (404)'],
  ])('404 for %j', async (changes, message) => {
    expect(await refusal((await setUp(single)).get(changes))).toContain(message);
  });

  test('a server that is not there, and one that is no hub', async () => {
    const { server, get } = await setUp(single);
    await server.stop();
    expect(await refusal(get())).toMatch(
      /127\.0\.0\.1:\d+ cannot be reached \(it refuses the connection\)/,
    );
  });

  test.each(['<html></html>', '{}', '[]', 'null', '{"sha":7}', `{"sha":"${commit}"}`, '['])(
    'a server that answers %s is no hub',
    async (answer) => {
      const { get } = await setUp(single, { answer });
      expect(await refusal(get())).toContain('does not answer as the Hugging Face hub does');
    },
  );
});
