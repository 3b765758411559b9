/** @file Which generation an NVIDIA GPU is of, as its driver says (docs.nvidia.com/cuda/cuda-driver-api). */

import koffi from 'koffi';

/** CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR. */
const majorAttribute = 75;

/** Ampere: the first with bf16, and the first that flash attention is written for. */
const ampere = 8;

/**
 * Whether a GPU is older than Ampere; false where the driver does not say.
 * @param index of a device that torch has used before, so that the driver is initialized
 */
export function isBeforeAmpere(index: number): boolean {
  try {
    const driver = koffi.load(process.platform === 'win32' ? 'nvcuda.dll' : 'libcuda.so.1');
    const device = [0];
    const major = [0];
    const found =
      driver.func('int cuDeviceGet(_Out_ int*, int)')(device, index) === 0 &&
      driver.func('int cuDeviceGetAttribute(_Out_ int*, int, int)')(
        major,
        majorAttribute,
        device[0],
      ) === 0;
    return found && major[0]! < ampere;
  } catch {
    return false;
  }
}
