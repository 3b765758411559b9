/** @file Which values of `base` are models on the hub. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { hubModelOf, readHubId } from '../../src/config/hub-id.ts';
import { printConfig } from '../../src/config/print-config.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';
import { contradiction, load, minimal } from './fixture.ts';

const at = temporaryFolder();

test.each([
  ['stabilityai/stable-diffusion-xl-base-1.0', 'stabilityai/stable-diffusion-xl-base-1.0', null, null],
  ['someone/model@v1.0', 'someone/model', 'v1.0', null],
  ['someone/model@refs/pr/3', 'someone/model', 'refs/pr/3', null],
  ['https://huggingface.co/someone/model', 'someone/model', null, null],
  ['https://huggingface.co/someone/model/tree/main', 'someone/model', 'main', null],
  ['https://huggingface.co/someone/model/blob/main/a%20b/x.safetensors', 'someone/model', 'main', 'a b/x.safetensors'],
  ['https://huggingface.co/someone/model/resolve/v2/x.safetensors?download=true', 'someone/model', 'v2', 'x.safetensors'],
])('%s', (text, repo, revision, file) => {
  expect(readHubId(text)).toEqual({ repo, revision, file });
}); // biome-ignore format: a table

test.each([
  'model.safetensors',
  'models/model.safetensors',
  'models/model.ckpt',
  './someone/model',
  '../model',
  '/home/me/model',
  'a/b/c',
  '~/model',
  'C:\\models\\x',
  'someone/model@../../x',
  'https://example.com/someone/model',
  'https://huggingface.co/someone/model/tree/%2e%2e%2fx',
  'https://huggingface.co/../model',
  '',
])('%s is a path', (text) => {
  expect(readHubId(text)).toBeNull();
});

test('what is here, or could be, is a path', () => {
  mkdirSync(at('models', 'sdxl'), { recursive: true });
  writeFileSync(at('models', 'x'), '');
  for (const path of ['models/sdxl', 'models/x', 'models/sdlx']) {
    expect(hubModelOf(path, at())).toBeNull();
  }
  expect(hubModelOf('someone/model', at())).toMatchObject({ repo: 'someone/model' });
});

test('a configuration says what of the model, and hides the token', () => {
  const loaded = load(
    minimal.replace('model.safetensors', 'someone/model@v1'),
    'hub.file=x.safetensors',
    'hub.token=hf_secret',
    'hub.cacheDir=cache',
  );
  expect(loaded.hubModel).toEqual({
    repo: 'someone/model',
    revision: 'v1',
    file: 'x.safetensors',
    token: 'hf_secret',
    cacheDir: expect.stringMatching(/[\\/]home[\\/]me[\\/]cache$/),
  });
  expect(loaded.config.base).toBe('someone/model@v1');
  expect(JSON.stringify(loaded.config) + printConfig(loaded)).not.toContain('hf_secret');
  expect(load(minimal).hubModel).toBeNull();
});

test('contradictions', () => {
  expect(contradiction('hub.file=x.safetensors')).toContain('hub.file would have no effect');
  expect(contradiction('base=a/b@v1', 'hub.revision=v2')).toContain('keep one');
  expect(contradiction('base=a/b', 'hub.file=x.ckpt')).toContain('ends with .safetensors');
  expect(contradiction('base=a/b', 'hub.revision=../x')).toContain('hub.revision');
});
