/** @file Launches kernels of ours on the stream on which libtorch computes. */

import type { CudaDriver, CudaFunction } from '../cuda-driver.ts';
import type { Kernel, KernelLauncher } from './kernel.ts';
import type { KernelCompiler } from './nvrtc.ts';

/** Each source is compiled once. */
export function cudaLauncher(driver: CudaDriver, compiler: KernelCompiler): KernelLauncher {
  const functions = new Map<string, CudaFunction>();
  const keep = ({ source, entry }: Kernel, code: Buffer): CudaFunction => {
    const made = driver.loadFunction(code, entry);
    functions.set(source, made);
    return made;
  };
  return {
    ready: async (kernels) => {
      const missing = new Map(kernels.map((kernel) => [kernel.source, kernel]));
      for (const source of functions.keys()) missing.delete(source);
      const compiled = await Promise.allSettled(
        Array.from(missing.values(), async (kernel) => ({
          kernel,
          code: await compiler.compileBeside(kernel),
        })),
      );
      for (const each of compiled) {
        if (each.status === 'fulfilled') keep(each.value.kernel, each.value.code);
      }
    },
    prepare: ({ kernel, grid, block }, parameters) => {
      const made = functions.get(kernel.source) ?? keep(kernel, compiler.compile(kernel));
      return () => driver.launchFunction(made, grid, block, parameters);
    },
  };
}
