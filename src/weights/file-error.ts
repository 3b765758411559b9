/** @file Turns an error of the file system into one line for the user. */

import { dirname } from 'node:path';
import { UserError } from '../tensor/user-error.ts';

const reasons: Readonly<Record<string, (path: string) => string>> = {
  ENOSPC: () => 'the disk is full; free some space and run the same command again',
  EDQUOT: () => 'your disk quota is used up; free some space and run the same command again',
  EFBIG: () => 'the file would be larger than this file system or your limits allow',
  EROFS: () => 'the disk is read-only; choose another folder',
  EACCES: () => 'permission denied; check who owns the file and its folder',
  EPERM: () => 'the operation is not permitted; it may be open in another program',
  EBUSY: () => 'it is in use by another program; close that program and try again',
  EISDIR: () => 'it is a folder, a file was expected',
  ENOTDIR: () => 'a part of this path is a file, not a folder',
  ENAMETOOLONG: () => 'the name is too long for this file system',
  ELOOP: () => 'its symbolic links go round in a circle',
  EMFILE: () => 'this process has too many files open',
  EIO: () => 'the disk reported an input/output error; check the disk',
  ERR_INVALID_ARG_VALUE: () => 'this is not a possible path',
};

const missing: Readonly<Record<Action, (path: string) => string>> = {
  read: () => 'no such file; check the path',
  write: (path) => `the folder ${dirname(path)} does not exist; create it or choose another`,
};

/** What was being done when the file system refused. */
export type Action = 'read' | 'write';

/** The text on one line, its control characters made visible, at most 120 characters. */
export function shown(text: string): string {
  return JSON.stringify(text.length > 120 ? `${text.slice(0, 117)}...` : text).replace(
    /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/gu,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/**
 * A `UserError` such as `cannot write a.safetensors: the disk is full; …` for an error with a
 * system code; any other error is handed back as it is.
 */
export function fileError(error: unknown, action: Action, path: string): unknown {
  if (!(error instanceof Error) || error instanceof UserError) return error;
  const code = (error as NodeJS.ErrnoException).code;
  if (typeof code !== 'string') return error;
  const reason = code === 'ENOENT' ? missing[action](path) : reasons[code]?.(path);
  if (!reason && !('syscall' in error)) return error;
  return new UserError(`cannot ${action} ${oneLine(path)}: ${reason ?? `the system says ${code}`}`);
}

/** A path as it is, but for characters that would break the line. */
export function oneLine(path: string): string {
  return path.replace(/\p{Cc}/gu, '?');
}
