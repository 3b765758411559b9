/** @file Which words of an engine mean that the memory is used up, as its sources have them. */

import { expect, test } from 'vitest';
import { outOfMemory } from '../../src/runtime/out-of-memory.ts';
import { UserError } from '../../src/tensor/user-error.ts';

test.each([
  [
    // c10/cuda/CUDACachingAllocator.cpp
    'CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB of which 1.06 GiB is free. ' +
      'Of the allocated memory 6.10 GiB is allocated by PyTorch, and 80.00 MiB is reserved by PyTorch but unallocated.',
    'CUDA out of memory. Tried to allocate 2.00 GiB',
  ],
  [
    // c10/core/impl/alloc_cpu.cpp
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes. Error code 12 (Cannot allocate memory)",
    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes. Error code 12 (Cannot allocate memory)",
  ],
  [
    'CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call',
    'CUDA error: out of memory',
  ],
  [
    'CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`',
    'CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`',
  ],
  [
    "Non-zero status code returned while running Mul node. Name:'' Status Message: /core/framework/bfc_arena.cc:360 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool) Failed to allocate memory for requested buffer of size 524288\n",
    'Failed to allocate memory for requested buffer of size 524288',
  ],
  ['std::bad_alloc', 'std::bad_alloc'],
  [
    'FIND was unable to find an engine to execute this computation',
    'FIND was unable to find an engine to execute this computation',
  ],
  ['could not create a primitive', 'could not create a primitive'],
])('%.40s', (message, reason) => {
  const error = outOfMemory(message);
  expect(error).toBeInstanceOf(UserError);
  expect(error!.reason).toBe(reason);
  expect(error!.message).toContain(reason);
  expect(error!.message).toMatch(/train\.batchSize.*data\.resolution.*gradientCheckpointing/);
});

test.each([
  'index out of range in self',
  'could not create a primitive descriptor for a convolution forward propagation primitive',
  'CUDA error: an illegal memory access was encountered',
])('%s is another trouble', (message) => {
  expect(outOfMemory(message)).toBeUndefined();
});
