/** @file Where the hub is, who asks, and where its files are kept: as Hugging Face's own tools have it. */

import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { UserError } from '../tensor/user-error.ts';

/** What is asked of the hub, with what the configuration says of how. */
export interface HubRequest {
  /** `owner/name`. */
  readonly repo: string;
  /** A branch, tag or commit. */
  readonly revision: string;
  /** A file in it; null for whatever it holds. */
  readonly file: string | null;
  /** Access token; null for that of the environment. */
  readonly token: string | null;
  /** Folder of downloads; null for that of the environment. */
  readonly cacheDir: string | null;
}

/** How the hub is reached. */
export interface HubSettings {
  /** Such as `https://huggingface.co`, without a slash at its end. */
  readonly endpoint: string;
  readonly token: string | null;
  /** Folder with `models--owner--name` in it. */
  readonly cacheDir: string;
  /** Nothing is asked; what is not there is missing. */
  readonly isOffline: boolean;
  /** Null where the environment names none. */
  readonly proxy: ProxySettings | null;
}

/** Proxies by the scheme of what is asked, as addresses; null where there is none. */
export interface ProxySettings {
  readonly http: string | null;
  readonly https: string | null;
  /** Hosts that are asked directly, with commas between them. */
  readonly except: string | null;
}

type Environment = Readonly<Record<string, string | undefined>>;

const isSet = (text: string | undefined) => /^(1|on|yes|true)$/i.test(text ?? '');

/**
 * The address of a proxy, of which `http://` may be left out.
 * @throws UserError where it is no address
 */
function proxyAddress(env: Environment, names: readonly string[]): string | null {
  const name = names.find((each) => env[each]?.trim());
  if (name === undefined) return null;
  const text = env[name]!.trim();
  const address = text.includes('://') ? text : `http://${text}`;
  if (URL.canParse(address) && /^(https?|socks5?):$/.test(new URL(address).protocol)) {
    return address;
  }
  throw new UserError(
    `${name}: no address of a proxy; expected one such as http://proxy.example:3128, with http, https or socks5`,
    2,
  );
}

/** As curl reads them: small letters first, and ALL_PROXY for what has none of its own. */
function proxySettings(env: Environment): ProxySettings | null {
  const all = ['all_proxy', 'ALL_PROXY'];
  const http = proxyAddress(env, ['http_proxy', 'HTTP_PROXY', ...all]);
  const https = proxyAddress(env, ['https_proxy', 'HTTPS_PROXY', ...all]);
  if (http === null && https === null) return null;
  return { http, https, except: env['no_proxy'] || env['NO_PROXY'] || null };
}

/** The token that `hf auth login` keeps. */
function storedToken(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').trim() || null;
  } catch {
    return null;
  }
}

/**
 * The settings, from a request and the variables that Hugging Face's tools read: HF_ENDPOINT, HF_TOKEN,
 * HF_TOKEN_PATH, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE; and HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY.
 * @throws UserError where the token cannot be one, or a proxy has no address
 */
export function hubSettings(
  request: Pick<HubRequest, 'token' | 'cacheDir'>,
  env: Environment,
): HubSettings {
  const caches = env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  const home = env['HF_HOME'] || join(caches, 'huggingface');
  const token =
    request.token ??
    (env['HF_TOKEN']?.trim() ||
      env['HUGGING_FACE_HUB_TOKEN']?.trim() ||
      storedToken(env['HF_TOKEN_PATH'] || join(home, 'token')));
  if (token !== null && !/^hf_\w+$/.test(token)) {
    throw new UserError(
      'the Hugging Face token (hub.token, HF_TOKEN or `hf auth login`) does not look like one: hf_ and letters or digits are expected',
      2,
    );
  }
  return {
    endpoint: (env['HF_ENDPOINT'] || 'https://huggingface.co').replace(/\/+$/, ''),
    token,
    cacheDir: request.cacheDir ?? (env['HF_HUB_CACHE'] || join(home, 'hub')),
    isOffline: isSet(env['HF_HUB_OFFLINE']),
    proxy: proxySettings(env),
  };
}
