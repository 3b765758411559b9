/** @file The hashes by which web UIs and kohya's tools know a checkpoint or an adapter. */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { fileError } from './file-error.ts';

/** The part of a file that the oldest web UI hash covers, in bytes. */
const windowStart = 0x100000;
const windowEnd = 0x110000;

/** `sshs_model_hash`: SHA-256 of the data section, 64 hexadecimal digits. */
export function sshsModelHash(data: Iterable<Uint8Array>): string {
  const hash = createHash('sha256');
  for (const chunk of data) hash.update(chunk);
  return hash.digest('hex');
}

/**
 * `sshs_legacy_hash`: 8 hexadecimal digits of the SHA-256 of the bytes from 0x100000 to 0x110000.
 * @param file the file as it would be with the `ss_*` metadata alone, in pieces
 */
export function sshsLegacyHash(file: Iterable<Uint8Array>): string {
  const hash = createHash('sha256');
  let at = 0;
  for (const chunk of file) {
    const from = Math.max(windowStart - at, 0);
    const to = Math.min(windowEnd - at, chunk.length);
    if (from < to) hash.update(chunk.subarray(from, to));
    at += chunk.length;
    if (at >= windowEnd) break;
  }
  return hash.digest('hex').slice(0, 8);
}

async function hashOfRange(path: string, range: { start: number; end?: number }): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path, { ...range, highWaterMark: 1 << 20 })) {
      hash.update(chunk as Buffer);
    }
  } catch (error) {
    throw fileError(error, 'read', path);
  }
  return hash.digest('hex');
}

/**
 * `ss_sd_model_hash`: the old web UI hash of a checkpoint, 8 hexadecimal digits.
 * @throws UserError where the file can't be read
 */
export async function sdModelHash(path: string): Promise<string> {
  return (await hashOfRange(path, { start: windowStart, end: windowEnd - 1 })).slice(0, 8);
}

/**
 * `ss_new_sd_model_hash`: SHA-256 of the whole file, 64 hexadecimal digits.
 * @throws UserError where the file can't be read
 */
export async function fileSha256(path: string): Promise<string> {
  return hashOfRange(path, { start: 0 });
}
