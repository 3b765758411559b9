/** @file Downloads one file: goes on where it was cut off, and is named only when its hash is right. */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { UserError } from '../tensor/user-error.ts';
import { fileError } from '../weights/file-error.ts';
import { HubAnswer, isPassing } from './hub-error.ts';
import type { HubConnection } from './hub-fetch.ts';
import type { HubSettings } from './hub-settings.ts';
import type { HubFile } from './repository.ts';

export interface DownloadOptions {
  readonly settings: HubSettings;
  readonly fetch: HubConnection['fetch'];
  /** Of the file, on the hub. */
  readonly url: string;
  readonly file: HubFile;
  /** Where the whole file goes; beside it, what has come so far. */
  readonly target: string;
  /** Bytes that are there. */
  readonly onProgress: (bytes: number) => void;
  /** Milliseconds without a byte after which a connection counts as cut; a minute unless given. */
  readonly stallAfter?: number | undefined;
  /** Before the first new attempt, in milliseconds; later ones wait longer. */
  readonly wait: number;
}

/** Attempts in a row that bring nothing. */
const mostAttempts = 5;

const usualStall = 60_000;

const sizeOf = (path: string) =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  );

/** The hash of a file, as the hub has it. */
async function hashOf(path: string, { size, hash }: HubFile): Promise<string> {
  const digest = createHash(hash.kind === 'sha256' ? 'sha256' : 'sha1');
  // Git hashes a file with its kind and length before it.
  if (hash.kind === 'git-sha1') digest.update(`blob ${size}\0`);
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    digest.update(chunk as Buffer);
  }
  return digest.digest('hex');
}

/** Where in the file an answer starts: at 0 where the server knows no ranges. */
function startOf(response: Response, asked: number): number {
  if (response.status !== 206) return 0;
  const from = /^bytes (\d+)-/.exec(response.headers.get('Content-Range') ?? '')?.[1];
  return from === undefined ? asked : Number(from);
}

/** Writes all of `bytes` at a place: two processes that load the same file write the same bytes. */
async function writeAt(handle: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await handle.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
  }
}

/**
 * Asks for the rest of a file and writes it where it belongs.
 * @throws what `fetch` throws where the connection is cut or stalls; what has come is written
 */
async function fetchRest(partial: string, options: DownloadOptions): Promise<void> {
  const { url, settings, fetch, file, onProgress, stallAfter = usualStall } = options;
  const there = await sizeOf(partial);
  // Compression would change what a range means.
  const headers: Record<string, string> = { 'Accept-Encoding': 'identity' };
  if (settings.token !== null) headers['Authorization'] = `Bearer ${settings.token}`;
  if (there > 0) headers['Range'] = `bytes=${there}-`;
  const stalled = new AbortController();
  const reason = new TypeError('fetch failed', { cause: new Error('it stopped sending') });
  const timer = setTimeout(() => stalled.abort(reason), stallAfter);
  try {
    const response = await fetch(url, { headers, signal: stalled.signal });
    if (!response.ok || response.body === null) {
      await response.body?.cancel();
      // What is there is not the start of this file.
      if (response.status === 416) await rm(partial, { force: true });
      const code = response.headers.get('X-Error-Code');
      throw new HubAnswer(response.status === 416 ? 503 : response.status, code);
    }
    let at = startOf(response, there);
    if (at > there) throw new HubAnswer(503, null);
    const handle = await open(partial, there > 0 ? 'r+' : 'w');
    try {
      if (at < there) await handle.truncate(at);
      for await (const chunk of response.body) {
        if (at + chunk.length > file.size) break;
        await writeAt(handle, chunk, at);
        at += chunk.length;
        timer.refresh();
        onProgress(at);
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Asks again and again until all bytes are there. */
async function fetchAll(partial: string, options: DownloadOptions): Promise<void> {
  const { file, wait } = options;
  if (file.size === 0) await (await open(partial, 'w')).close();
  for (let fruitless = 0; ; ) {
    const before = await sizeOf(partial);
    if (before === file.size) return;
    if (before > file.size) await rm(partial);
    let failure: unknown = new HubAnswer(503, null);
    try {
      await fetchRest(partial, options);
    } catch (error) {
      if (!isPassing(error)) throw error;
      failure = error;
    }
    fruitless = (await sizeOf(partial)) > before ? 0 : fruitless + 1;
    if (fruitless >= mostAttempts) throw failure;
    if ((await sizeOf(partial)) < file.size) {
      await new Promise((done) => setTimeout(done, wait * 2 ** fruitless));
    }
  }
}

/**
 * Downloads a file, unless it is there.
 * @throws UserError where the disk fails, or what comes is not what the hub has announced
 * @throws HubAnswer, or what `fetch` throws, where the hub refuses or cannot be reached
 */
export async function downloadFile(options: DownloadOptions): Promise<void> {
  const { file, target } = options;
  if ((await sizeOf(target)) === file.size && file.size > 0) return;
  const partial = `${target}.incomplete`;
  try {
    await mkdir(dirname(target), { recursive: true });
    // Once more from the start: an earlier attempt may have left other bytes.
    for (const isLast of [false, true]) {
      await fetchAll(partial, options);
      if ((await hashOf(partial, file)) === file.hash.hex) {
        await rename(partial, target);
        return;
      }
      await rm(partial, { force: true });
      if (!isLast) continue;
      throw new UserError(
        `${file.path}: what was downloaded is damaged, its checksum is not the hub's, so nothing of it was kept; try again later`,
      );
    }
  } catch (error) {
    throw fileError(error, 'write', target);
  }
}
