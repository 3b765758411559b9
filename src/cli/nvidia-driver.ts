/** @file NVIDIA's driver, where it is there and can be asked. */

import type { NvidiaDriver } from '../runtime/torch/nvidia-gpus.ts';

/** Undefined also where koffi, which asks it, cannot be loaded. */
export async function findNvidiaDriver(): Promise<NvidiaDriver | undefined> {
  try {
    return (await import('../runtime/torch/nvidia-gpus.ts')).nvidiaDriver();
  } catch {
    return undefined;
  }
}
