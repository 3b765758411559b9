/** @file The NVIDIA GPUs of this machine, as their driver tells of them (docs.nvidia.com/cuda/cuda-driver-api). */

import { readFileSync } from 'node:fs';
import type { LibraryHandle } from 'koffi';
import { computeCapability } from './compute-capability.ts';
import { loadNvidiaLibrary } from './nvidia-library.ts';

interface NvidiaGpu {
  readonly name: string;
  /** Bytes. */
  readonly memory: number;
  /** Compute capability times ten; undefined where the driver does not say. */
  readonly capability: number | undefined;
}

export interface NvidiaDriver {
  /** `580.159.04`; null where the system does not say. */
  readonly version: string | null;
  /** The newest CUDA that it runs, such as 13.0. */
  readonly cuda: string;
  /** In CUDA's order. */
  readonly gpus: readonly NvidiaGpu[];
}

const longestName = 100;

function openDriver(): LibraryHandle | undefined {
  try {
    return loadNvidiaLibrary();
  } catch {
    return undefined;
  }
}

function versionOfKernelModule(): string | null {
  try {
    const text = readFileSync('/proc/driver/nvidia/version', 'utf8');
    return /Kernel Module\D*([\d.]+)/.exec(text)?.[1] ?? null;
  } catch {
    return null;
  }
}

/** What the driver says; undefined where there is none, or it has no GPU. */
export function nvidiaDriver(): NvidiaDriver | undefined {
  const driver = openDriver();
  if (!driver) return undefined;
  const number = (signature: string, ...args: number[]): number | undefined => {
    const out = [0];
    const status = driver.func(signature)(out, ...args);
    return status === 0 ? Number(out[0]) : undefined;
  };
  if (driver.func('int cuInit(uint32_t)')(0) !== 0) return undefined;
  const cuda = number('int cuDriverGetVersion(_Out_ int*)') ?? 0;
  const count = number('int cuDeviceGetCount(_Out_ int*)') ?? 0;
  const gpus: NvidiaGpu[] = [];
  for (let i = 0; i < count; i++) {
    const device = number('int cuDeviceGet(_Out_ int*, int)', i) ?? i;
    const text = Buffer.alloc(longestName);
    driver.func('int cuDeviceGetName(void*, int, int)')(text, longestName, device);
    gpus.push({
      name: text.toString('utf8', 0, Math.max(0, text.indexOf(0))),
      memory: number('int cuDeviceTotalMem_v2(_Out_ size_t*, int)', device) ?? 0,
      capability: computeCapability(i),
    });
  }
  if (gpus.length === 0) return undefined;
  return {
    version: versionOfKernelModule(),
    cuda: `${Math.floor(cuda / 1000)}.${Math.floor((cuda % 1000) / 10)}`,
    gpus,
  };
}
