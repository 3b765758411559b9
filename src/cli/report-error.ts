/** @file What a failed command says, and the exit status it ends with. */

import { UserError } from '../tensor/user-error.ts';
import { fileError } from '../weights/file-error.ts';

/** Message for stderr and exit status of the process. */
export interface ErrorReport {
  readonly text: string;
  readonly exitCode: number;
}

const outOfMemory =
  /bad_alloc|failed to allocate|allocation failed|Invalid (typed )?array (buffer )?length|out of memory/i;

const writingCalls = /^(mkdir|write|rename|fsync|fdatasync|ftruncate|copyfile|unlink|rmdir|chmod)/;

/** Errors of the file system and of memory that no one has put into words yet. */
function inWords(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof UserError) return error;
  const { syscall, path } = error as NodeJS.ErrnoException;
  if (syscall !== undefined && path !== undefined) {
    return fileError(error, writingCalls.test(syscall) ? 'write' : 'read', path);
  }
  if (outOfMemory.test(error.message)) {
    return new UserError(
      `the memory is used up (${error.message.split('\n')[0]}); set device.memory: auto, which plans the run to fit ` +
        'what is free (smaller parts of a batch, gradient checkpointing) or says what does not fit; or lower ' +
        'train.batchSize or data.resolution, or set train.gradientCheckpointing: true',
    );
  }
  return error;
}

/**
 * What to show of an error. A user's mistake is its message alone; anything else is our own bug,
 * with its stack where `debug` is set.
 */
export function reportError(thrown: unknown, { debug }: { readonly debug: boolean }): ErrorReport {
  const error = inWords(thrown);
  if (error instanceof UserError) {
    const stack = debug && thrown instanceof Error ? `\n${thrown.stack}` : '';
    return { text: error.message + stack, exitCode: error.exitCode };
  }
  const message = error instanceof Error ? error.message : String(error);
  const first = `internal: ${message.replace(/^internal: /, '')}`;
  if (debug) {
    const stack = error instanceof Error && error.stack ? `\n${error.stack}` : '';
    return { text: first + stack, exitCode: 1 };
  }
  const how =
    'this is a bug of sdl-train; run the same command with --debug and report what it prints';
  return { text: `${first.split('\n')[0]}\n${how}`, exitCode: 1 };
}
