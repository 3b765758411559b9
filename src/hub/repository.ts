/** @file The files of a repository at one commit, asked of the hub through Hugging Face's client. */

import { HubApiError, listFiles, modelInfo } from '@huggingface/hub';
import { UserError } from '../tensor/user-error.ts';
import { shown } from '../weights/file-error.ts';
import { HubAnswer, isNetworkError, isPassing } from './hub-error.ts';
import type { HubConnection } from './hub-fetch.ts';
import type { HubRequest, HubSettings } from './hub-settings.ts';

/** One file on the hub. */
export interface HubFile {
  /** In the repository, with slashes. */
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  /** SHA-256 of a large file (LFS), or Git's SHA-1 of a small one. */
  readonly hash: { readonly kind: 'sha256' | 'git-sha1'; readonly hex: string };
}

/** A repository at one commit. */
export interface Repository {
  /** 40 hexadecimal digits. */
  readonly commit: string;
  readonly files: readonly HubFile[];
}

/** Questions in vain before it is given up. */
const mostAttempts = 3;

/**
 * Asks until there is an answer. The client's errors lose the hub's own word for a refusal, so it is
 * taken from the answer itself.
 */
async function ask<T>(
  action: (options: Pick<HubConnection, 'fetch'>) => Promise<T>,
  { fetch }: HubConnection,
  wait: number,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    let code: string | null = null;
    const noting: HubConnection['fetch'] = async (input, init) => {
      const response = await fetch(input, init);
      code = response.headers.get('X-Error-Code');
      return response;
    };
    try {
      return await action({ fetch: noting });
    } catch (thrown) {
      const error = thrown instanceof HubApiError ? new HubAnswer(thrown.statusCode, code) : thrown;
      if (!isPassing(error) || attempt === mostAttempts) throw error;
      await new Promise((done) => setTimeout(done, wait * 2 ** attempt));
    }
  }
}

/** Only plain relative paths: they become files of this machine. */
function isPlainPath(path: string): boolean {
  const parts = path.split('/');
  return parts.every(
    (part) => part !== '' && part !== '.' && part !== '..' && !/[\\:\p{Cc}]/u.test(part),
  );
}

async function readFiles(
  { repo }: HubRequest,
  access: { readonly hubUrl: string } & Pick<HubConnection, 'fetch'>,
  commit: string,
): Promise<HubFile[]> {
  const files: HubFile[] = [];
  for await (const entry of listFiles({ ...access, repo, revision: commit, recursive: true })) {
    const { type, path, size, oid, lfs } = entry;
    if (type !== 'file' || !isPlainPath(path)) continue;
    const file: HubFile = lfs
      ? { path, size: lfs.size, hash: { kind: 'sha256', hex: lfs.oid } }
      : { path, size, hash: { kind: 'git-sha1', hex: oid ?? '' } };
    const digits = file.hash.kind === 'sha256' ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/;
    if (!Number.isSafeInteger(file.size) || file.size < 0 || !digits.test(file.hash.hex)) {
      throw new TypeError(`${path} without size or hash`);
    }
    files.push(file);
  }
  return files;
}

/**
 * Asks which commit a revision is, and what it holds.
 * @param wait before a question is asked again, in milliseconds
 * @throws HubAnswer, or what `fetch` throws
 * @throws UserError where it is no hub that answers
 */
export async function readRepository(
  request: HubRequest,
  { endpoint, token }: HubSettings,
  connection: HubConnection,
  wait: number,
): Promise<Repository> {
  const { repo, revision } = request;
  const access = { hubUrl: endpoint, ...(token === null ? {} : { accessToken: token }) };
  try {
    const additionalFields: 'sha'[] = ['sha'];
    const { sha: commit } = await ask(
      (own) => modelInfo({ ...access, ...own, name: repo, revision, additionalFields }),
      connection,
      wait,
    );
    if (!/^[0-9a-f]{40}$/.test(commit)) throw new TypeError('no commit');
    const files = await ask(
      (own) => readFiles(request, { ...access, ...own }, commit),
      connection,
      wait,
    );
    return { commit, files };
  } catch (error) {
    if (error instanceof HubAnswer || isNetworkError(error)) throw error;
    // The client takes any answer for the hub's, so that another one fails somewhere inside it.
    const { message } = error as Error;
    throw new UserError(
      `${repo}: ${endpoint} does not answer as the Hugging Face hub does (${shown(message)}); check HF_ENDPOINT`,
    );
  }
}
