/** @file Which generation an NVIDIA GPU is of, as its driver says (docs.nvidia.com/cuda/cuda-driver-api). */

import { loadNvidiaLibrary } from './nvidia-library.ts';

/** CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR. */
const attributes = [75, 76] as const;

/** Ampere: the first with bf16, and the first that flash attention is written for. */
const ampere = 80;

/**
 * Compute capability times ten, such as 86; undefined where the driver does not say.
 * @param index of a device, of a driver that is initialized: torch does so, and `nvidiaDriver`
 */
export function computeCapability(index: number): number | undefined {
  try {
    const driver = loadNvidiaLibrary();
    const device = [0];
    if (driver.func('int cuDeviceGet(_Out_ int*, int)')(device, index) !== 0) return undefined;
    const ask = driver.func('int cuDeviceGetAttribute(_Out_ int*, int, int)');
    const [major, minor] = attributes.map((attribute) => {
      const value = [0];
      return ask(value, attribute, device[0]) === 0 ? value[0]! : Number.NaN;
    }) as [number, number];
    const capability = 10 * major + minor;
    return Number.isNaN(capability) ? undefined : capability;
  } catch {
    return undefined;
  }
}

/** Whether a GPU is older than Ampere; false where the driver does not say. */
export const isBeforeAmpere = (index: number): boolean =>
  (computeCapability(index) ?? ampere) < ampere;
