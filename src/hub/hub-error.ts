/** @file What the hub or the network answered, in one line for the user. */

import { UserError } from '../tensor/user-error.ts';
import { oneLine, shown } from '../weights/file-error.ts';
import type { HubRequest, HubSettings } from './hub-settings.ts';

/** An answer that is no success. */
export class HubAnswer extends Error {
  readonly status: number;
  /** The hub's own word for it, such as `RepoNotFound`. */
  readonly code: string | null;

  constructor(status: number, code: string | null) {
    super(`HTTP status ${status}`);
    this.status = status;
    this.code = code;
  }
}

/** Whether the same question may get another answer soon. */
export function isPassing(error: unknown): boolean {
  if (error instanceof HubAnswer) return error.status === 429 || error.status >= 500;
  return isNetworkError(error) && proxyStatus(error) === null;
}

/** Whether `fetch` could not connect, or was cut off: then its error has a cause, which says how. */
export function isNetworkError(error: unknown): error is Error {
  return error instanceof TypeError && error.cause instanceof Error;
}

/** The status with which a proxy refused to connect, which is in one of the causes; or null. */
function proxyStatus(error: Error): number | null {
  const status = /^Proxy .*\((\d{3})\)/.exec(error.message)?.[1];
  if (status !== undefined) return Number(status);
  return error.cause instanceof Error ? proxyStatus(error.cause) : null;
}

/** Where a proxy is and which variable names it, without its password. */
function proxyText({ endpoint, proxy }: HubSettings): string | null {
  const isTls = endpoint.startsWith('https:');
  const address = proxy && (isTls ? (proxy.https ?? proxy.http) : proxy.http);
  return address && `the proxy ${new URL(address).host} of ${isTls ? 'HTTPS_PROXY' : 'HTTP_PROXY'}`;
}

const networkReasons: Readonly<Record<string, string>> = {
  ENOTFOUND: 'its name is not known; is this machine online?',
  EAI_AGAIN: 'its name cannot be looked up; is this machine online?',
  ECONNREFUSED: 'it refuses the connection',
  ECONNRESET: 'the connection was cut',
  ETIMEDOUT: 'it does not answer in time',
  UND_ERR_CONNECT_TIMEOUT: 'it does not answer in time',
  UND_ERR_HEADERS_TIMEOUT: 'it does not answer in time',
  UND_ERR_BODY_TIMEOUT: 'it stopped sending',
  UND_ERR_SOCKET: 'the connection was cut',
};

function reasonOf({ status, code }: HubAnswer, request: HubRequest, hasToken: boolean): string {
  const { repo, revision, file } = request;
  if (status === 401) {
    return hasToken
      ? 'the hub does not accept the token (401); make a new one in the settings of your account'
      : 'the hub wants to know who asks (401): the name is wrong, or the model is private or gated; check the name, or give a token as HF_TOKEN or hub.token';
  }
  if (status === 403 || code === 'GatedRepo') {
    return `the hub refuses it (${status}): the model is gated; open https://huggingface.co/${repo} and accept its terms with the account of the token${hasToken ? '' : ', and give that token as HF_TOKEN or hub.token'}`;
  }
  if (status === 404 && code === 'RevisionNotFound') {
    return `there is no revision ${shown(revision)} of it (404); check hub.revision`;
  }
  if (status === 404 && code === 'EntryNotFound') {
    return `there is no file ${shown(file ?? '')} in it (404); check hub.file`;
  }
  if (status === 404) return 'there is no such model on the hub (404); check the name';
  if (status === 429) return 'the hub was asked too often (429); wait some minutes and try again';
  return `the hub answers with status ${status}; try again later`;
}

/** A `UserError` for what the hub or the network answered; any other error as it is. */
export function hubError(error: unknown, request: HubRequest, settings: HubSettings): unknown {
  if (error instanceof UserError) return error;
  const name = oneLine(request.repo);
  if (error instanceof HubAnswer) {
    return new UserError(`${name}: ${reasonOf(error, request, settings.token !== null)}`);
  }
  if (!isNetworkError(error)) return error;
  const { code, message } = error.cause as NodeJS.ErrnoException;
  const proxy = proxyText(settings);
  const refused = proxyStatus(error);
  if (refused !== null) {
    const remedy =
      refused === 407
        ? 'it wants a user and a password, as http://user:password@host:port'
        : 'ask who runs it, or except the host with NO_PROXY';
    return new UserError(`${name}: ${proxy ?? 'the proxy'} refuses (${refused}): ${remedy}`);
  }
  const reason = (code && networkReasons[code]) || code || message;
  const why =
    proxy === null ? reason : `${reason}; asked through ${proxy}, unless NO_PROXY excepts it`;
  return new UserError(
    `${name}: ${new URL(settings.endpoint).host} cannot be reached (${why}); run the same command again when it can, ` +
      'what was downloaded is kept',
  );
}
