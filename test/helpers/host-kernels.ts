/** @file Compiles kernels for the processor with g++, where there is one, and runs them thread by thread. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import koffi from 'koffi';
import type { KernelLauncher } from '../../src/runtime/torch/kernels/kernel.ts';

/** Why kernels cannot be run here; undefined where they can. */
export const compilerMissing: string | undefined = (() => {
  if (process.platform !== 'linux') return 'kernels are run on the processor on Linux alone';
  try {
    execFileSync('g++', ['--version'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'g++ is not there to run kernels on the processor';
  }
})();

const header = join(import.meta.dirname, 'host-kernels.h');

export interface HostLauncher extends KernelLauncher {
  /** The entries of what was prepared. */
  readonly entries: string[];
}

/** Runs on tensors of the processor. Each source is compiled once. */
export function hostLauncher(): HostLauncher {
  const folder = mkdtempSync(join(tmpdir(), 'kernels-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const compiled = new Map<string, (...args: number[]) => void>();
  const entries: string[] = [];
  const compile = (entry: string, source: string) => {
    const file = join(folder, `${entry}-${compiled.size}`);
    const half = source.includes('cvt.f32.f16') ? '#define HALF_PRECISION\n' : '';
    writeFileSync(`${file}.cpp`, `${half}#include "${header}"\n${source}\nLAUNCHED(${entry})\n`);
    const flags = [
      '-std=c++17',
      '-O1',
      '-w',
      '-shared',
      '-fPIC',
      '-fvisibility=hidden',
      '-U_FORTIFY_SOURCE',
    ];
    execFileSync('g++', [...flags, `${file}.cpp`, '-o', `${file}.so`]);
    return koffi.load(`${file}.so`).func('void launchKernel(int, int, int, uint64_t)');
  };
  return {
    entries,
    prepare: ({ kernel: { entry, source }, grid, block }, parameters) => {
      let run = compiled.get(source);
      if (!run) {
        run = compile(entry, source);
        compiled.set(source, run);
      }
      entries.push(entry);
      return () => run(grid[0], grid[1], block, parameters);
    },
  };
}
