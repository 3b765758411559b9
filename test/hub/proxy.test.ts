/** @file Downloads through a proxy: by which variables, past it, and how it refuses. */

import { readFileSync } from 'node:fs';
import { expect, test, vi } from 'vitest';
import { fetchModel } from '../../src/hub/fetch-model.ts';
import { hubSettings } from '../../src/hub/hub-settings.ts';
import { UserError } from '../../src/tensor/user-error.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';
import { startHub } from './hub-server.ts';
import { startProxy } from './proxy-server.ts';

vi.setConfig({ testTimeout: 60_000 });

const at = temporaryFolder();
const model = Buffer.alloc(50_000, 7);
const files = { 'model.safetensors': model, 'README.md': Buffer.from('a model') };

const get = (env: Readonly<Record<string, string>>, token: string | null = null) =>
  fetchModel(
    { repo: 'someone/model', revision: 'main', file: null, token, cacheDir: null },
    { env: { HF_HOME: at('home'), ...env }, onProgress: () => {}, wait: 1 },
  );

const messageOf = (action: Promise<unknown>) =>
  action.then(
    () => expect.fail('it was not refused'),
    (error: unknown) => {
      expect(error).toBeInstanceOf(UserError);
      return (error as UserError).message;
    },
  );

test('everything is asked of the proxy, and goes on through it where it was cut off', async () => {
  const hub = await startHub(files, { cuts: 1, cutAfter: 20_000, token: 'hf_right' });
  const proxy = await startProxy();
  // No process is to find a variable of its own machine here.
  vi.stubEnv('http_proxy', 'http://127.0.0.1:1');
  const env = { HF_ENDPOINT: hub.endpoint, HTTP_PROXY: proxy.host };
  expect(readFileSync(await get(env, 'hf_right')).equals(model)).toBe(true);
  expect(proxy.asked.length).toBe(hub.asked.length);
  expect(proxy.asked.every((line) => line.startsWith('GET http://127.0.0.1:'))).toBe(true);
  expect(hub.asked.filter((line) => line.startsWith('store'))).toEqual([
    'store /model.safetensors',
    expect.stringMatching(/^store \/model\.safetensors bytes=\d+-$/),
  ]);
  expect(hub.tokensAtStore).toEqual([undefined, undefined]);
  vi.unstubAllEnvs();
});

test('NO_PROXY is asked directly', async () => {
  const hub = await startHub(files);
  const proxy = await startProxy();
  const host = '127.0.0.1';
  await get({ HF_ENDPOINT: hub.endpoint, http_proxy: proxy.host, NO_PROXY: `a.example,${host}` });
  expect(proxy.asked).toEqual([]);
});

test('TLS is tunnelled; a proxy that wants a password, or refuses, says so at once', async () => {
  const proxy = await startProxy({ password: Buffer.from('me:secret').toString('base64'), tunnelStatus: 403 });
  const env = { HF_ENDPOINT: 'https://hub.example' };
  const unknown = await messageOf(get({ ...env, HTTPS_PROXY: proxy.host }));
  expect(unknown).toMatch(/^someone\/model: the proxy 127\.0\.0\.1:\d+ of HTTPS_PROXY refuses \(407\): it wants a user/);
  const forbidden = await messageOf(get({ ...env, https_proxy: `http://me:secret@${proxy.host}` }));
  expect(forbidden).toMatch(/refuses \(403\): ask who runs it, or except the host with NO_PROXY$/);
  expect(forbidden).not.toContain('secret');
  expect(proxy.asked).toEqual(['CONNECT hub.example:443', 'CONNECT hub.example:443']);
}); // biome-ignore format: one line a step

test('a password for plain http, wrong and right', async () => {
  const hub = await startHub(files);
  const proxy = await startProxy({ password: Buffer.from('me:secret').toString('base64') });
  const env = { HF_ENDPOINT: hub.endpoint };
  expect(await messageOf(get({ ...env, HTTP_PROXY: proxy.host }))).toMatch(/HTTP_PROXY refuses \(407\)/);
  expect(await get({ ...env, HTTP_PROXY: `me:secret@${proxy.host}` })).toContain('model.safetensors');
}); // biome-ignore format: one line a step

test('a proxy that is not there is named', async () => {
  const proxy = await startProxy();
  await proxy.stop();
  const env = { HF_ENDPOINT: 'https://hub.example', ALL_PROXY: `http://me:secret@${proxy.host}` };
  const message = await messageOf(get(env));
  expect(message).toMatch(
    /hub\.example cannot be reached \(it refuses the connection; asked through the proxy 127\.0\.0\.1:\d+ of HTTPS_PROXY, unless NO_PROXY excepts it\)/,
  );
  expect(message).not.toContain('secret');
});

test.each([
  [{}, null],
  [{ HTTPS_PROXY: ' ' }, null],
  [{ HTTPS_PROXY: 'a:1', https_proxy: 'b:2' }, { http: null, https: 'http://b:2', except: null }],
  [{ ALL_PROXY: 'socks5://a:1', HTTP_PROXY: 'https://b:2', no_proxy: 'c' }, { http: 'https://b:2', https: 'socks5://a:1', except: 'c' }],
])('%j', (env, proxy) => {
  expect(hubSettings({ token: null, cacheDir: null }, { HF_HOME: at('none'), ...env }).proxy).toEqual(proxy);
}); // biome-ignore format: a table

test.each(['http://', 'ftp://a:1', 'a b'])('%s is no proxy', (address) => {
  const settings = () => hubSettings({ token: null, cacheDir: null }, { HTTPS_PROXY: address });
  expect(settings).toThrow('HTTPS_PROXY: no address of a proxy; expected one such as');
});
