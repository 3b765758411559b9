/** @file The identity of a file's content. */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { UserError } from '../tensor/user-error.ts';

/**
 * SHA-256 of a file's bytes, 64 hexadecimal digits; the file is streamed.
 * @throws UserError where it cannot be read.
 */
export async function contentHash(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(path), hash);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UserError(
      `${path}: cannot be read (${code}); check that it exists and its permissions`,
    );
  }
  return hash.digest('hex');
}
