/** @file Loads libtorch's libraries from their folder, in an order in which they find each other. */

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import koffi, { type LibraryHandle } from 'koffi';
import { UserError } from '../../tensor/user-error.ts';
import { type FoundLibtorch, installCommand, libraryFile } from './find-libtorch.ts';

export type NativeFunction = ReturnType<LibraryHandle['func']>;

function loadFile(path: string): LibraryHandle | undefined {
  try {
    return koffi.load(path, { global: true });
  } catch {
    return undefined;
  }
}

export interface LoadedLibraries {
  /** Whether libtorch_cuda was there and could be loaded. */
  readonly hasCuda: boolean;
  /** Why it could not be loaded; undefined where it was, or is not there. */
  readonly cudaProblem: string | undefined;
  /** A function of any of them; undefined where none has it. */
  find(signature: string): NativeFunction | undefined;
  /** As `find`, for names that are not of C. */
  findNamed(name: string, result: string, parameters: string[]): NativeFunction | undefined;
  /** Where a global variable lies. */
  symbol(name: string): bigint | undefined;
}

/** What is there of a build for CUDA. */
function loadCuda(path: string): {
  readonly cuda: LibraryHandle | undefined;
  readonly cudaProblem: string | undefined;
} {
  try {
    return { cuda: koffi.load(path, { global: true }), cudaProblem: undefined };
  } catch (error) {
    return {
      cuda: undefined,
      cudaProblem: existsSync(path) ? (error as Error).message : undefined,
    };
  }
}

/** NVIDIA's CUDA runtime beside libtorch, as Windows names it. */
function cudaRuntime(folder: string): LibraryHandle | undefined {
  const name = readdirSync(folder).find((file) => /^cudart64_\d+\.dll$/.test(file));
  return name === undefined ? undefined : loadFile(join(folder, name));
}

function namesOf(
  libraries: readonly LibraryHandle[],
): Pick<LoadedLibraries, 'find' | 'findNamed' | 'symbol'> {
  const inAny = <T>(get: (library: LibraryHandle) => T): T | undefined => {
    for (const library of libraries) {
      try {
        return get(library);
      } catch {
        // The next library may have it.
      }
    }
    return undefined;
  };
  return {
    find: (signature) => inAny((library) => library.func(signature)),
    findNamed: (name, result, parameters) =>
      inAny((library) => library.func(name, result, parameters)),
    symbol: (name) => inAny((library) => library.symbol(name)),
  };
}

/** The newest load order that works: c10 first, then what the CUDA build needs, then torch. */
export function loadLibraries({ folder, version }: FoundLibtorch): LoadedLibraries {
  if (process.platform === 'win32') {
    // Where the loader looks for the libraries that these need.
    process.env['PATH'] = `${folder};${process.env['PATH'] ?? ''}`;
  }
  // Large tensors in large pages of memory: c10 asks the system for them.
  process.env['THP_MEM_ALLOC_ENABLE'] ??= '1';
  // Threads that wait in a loop for the others stand still where another program has their core.
  process.env['OMP_WAIT_POLICY'] ??= 'passive';
  const path = (name: string) => join(folder, libraryFile(name));
  // Python loads it first as well: it pulls in what the CUDA build needs.
  loadFile(path('torch_global_deps'));
  try {
    const c10 = koffi.load(path('c10'), { global: true });
    const cpu = koffi.load(path('torch_cpu'), { global: true });
    loadFile(path('c10_cuda'));
    const { cuda, cudaProblem } = loadCuda(path('torch_cuda'));
    loadFile(path('c10_xpu'));
    loadFile(path('torch_xpu'));
    // On Windows a library does not have the names of those that it needs.
    const runtime = process.platform === 'win32' ? cudaRuntime(folder) : undefined;
    const libraries = [cpu, cuda, c10, runtime].filter((library) => library !== undefined);
    return { hasCuda: cuda !== undefined, cudaProblem, ...namesOf(libraries) };
  } catch (error) {
    throw new UserError(
      `libtorch ${version ?? ''} in ${folder} cannot be loaded (${(error as Error).message}); ` +
        `install it again, for this system: ${installCommand()}`,
    );
  }
}
