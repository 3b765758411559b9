/**
 * @file Memory that was freed goes back to the system. glibc keeps it, in pieces between what is in use:
 * without this a process grows by some 25 MiB in a thousand small steps, though nothing is leaked.
 */

import koffi from 'koffi';

/** A look through all freed pieces takes milliseconds, and what is given back is to be asked for again. */
const runsBetween = 100;

function loadTrim(): ((keep: number) => number) | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    return koffi.load('libc.so.6').func('int malloc_trim(size_t)');
  } catch {
    // Another C library, which has no such function.
    return undefined;
  }
}

/** To be called after each run; gives freed memory back now and then. */
export class FreedMemory {
  readonly #trim = loadTrim();
  #runs = 0;

  afterRun(): void {
    if (++this.#runs % runsBetween === 0) this.#trim?.(0);
  }
}
