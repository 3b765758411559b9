/** @file Writes a file wholly or not at all: a temporary file beside it, synced, then renamed. */

import { type FileHandle, open, readdir, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileError } from './file-error.ts';

/** The most bytes handed to the system at a time; one write call takes less than 2 GiB. */
const writeBytes = 1 << 26;
/** A temporary file of a process that is gone is removed after this time without a change. */
const staleAfterMs = 60_000;

let counter = 0;

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const length = Math.min(writeBytes, bytes.length - at);
    at += (await handle.write(bytes, at, length)).bytesWritten;
  }
}

/** Makes a rename survive a power cut; systems that can't open folders (Windows) don't need it. */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch {
    // The file is in place either way.
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Removes what an earlier process that was killed left of the same file. */
async function removeStale(folder: string, name: string): Promise<void> {
  const prefix = `.${name}.`;
  for (const file of await readdir(folder)) {
    const pid = file.startsWith(prefix) && /^(\d+)-\d+\.tmp$/.exec(file.slice(prefix.length))?.[1];
    if (!pid || isRunning(Number(pid))) continue;
    const path = join(folder, file);
    const age = await stat(path).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    );
    if (age > staleAfterMs) await unlink(path).catch(() => {});
  }
}

/**
 * Writes `chunks` one after another to `path`. Until the end there is only the old file, if any;
 * after a failure too.
 * @param verify is given the temporary file when it is complete; what it throws stops the rename
 * @throws UserError where the disk is full, read-only, not permitted, …
 */
export async function writeFileAtomic(
  path: string,
  chunks: Uint8Array | Iterable<Uint8Array>,
  verify?: (temporary: string) => void | Promise<void>,
): Promise<void> {
  const folder = dirname(path);
  const name = basename(path);
  const temporary = join(folder, `.${name}.${process.pid}-${counter++}.tmp`);
  let created = false;
  try {
    await removeStale(folder, name);
    const handle = await open(temporary, 'wx');
    created = true;
    try {
      const parts = chunks instanceof Uint8Array ? [chunks] : chunks;
      for (const part of parts) await writeAll(handle, part);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await verify?.(temporary);
    await rename(temporary, path);
    created = false;
    await syncFolder(folder);
  } catch (error) {
    if (created) await unlink(temporary).catch(() => {});
    throw fileError(error, 'write', path);
  }
}
