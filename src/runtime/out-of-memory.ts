/** @file How engines say that the memory is used up. */

import { OutOfMemoryError } from './executor.ts';

/**
 * From the sources: PyTorch's allocators say `CUDA out of memory. Tried to allocate`, `MPS backend out of
 * memory`, `DefaultCPUAllocator: can't allocate memory` or, on Windows, `not enough memory`; CUDA itself
 * `out of memory`; cuBLAS and cuDNN `…_ALLOC_FAILED` and `…_ALLOCATION_FAILED`; ONNX Runtime `Failed to
 * allocate memory for requested buffer`; C++ `std::bad_alloc`; Node `Array buffer allocation failed`. oneDNN's `could not create a primitive` was seen where
 * no memory was left for a kernel's code; one that it does not have at all is a `primitive descriptor`.
 * `was unable to find an engine` is what PyTorch says of a convolution where none of cuDNN's kernels got its
 * work space (aten/src/ATen/native/cudnn/Conv_v8.cpp).
 */
const saying =
  /out of memory|(can't|failed to) allocate memory|not enough memory|ALLOC(ATION)?_FAILED|bad_alloc|buffer allocation failed|was unable to find an engine|could not create a primitive$/i;

/** Two sentences, such as what was wanted and how much, without the engine's own file names before them. */
function reasonIn(line: string): string {
  const before = /^.*[\]).] /.exec(line.slice(0, line.search(saying)))?.[0] ?? '';
  const sentences = line.slice(before.length).split(/(?<=\.) /);
  return sentences.slice(0, 2).join(' ').replace(/\.$/, '');
}

/** The error that an engine's message stands for, where it is that the memory is used up. */
export function outOfMemory(message: string): OutOfMemoryError | undefined {
  const line = message.split('\n').find((each) => saying.test(each));
  return line === undefined ? undefined : new OutOfMemoryError(reasonIn(line));
}
