/** @file The library of NVIDIA's driver (docs.nvidia.com/cuda/cuda-driver-api). */

import koffi, { type LibraryHandle } from 'koffi';

/** @throws where the system has no such driver */
export const loadNvidiaLibrary = (): LibraryHandle =>
  koffi.load(process.platform === 'win32' ? 'nvcuda.dll' : 'libcuda.so.1');
