/**
 * @file Slices on wasm. tfjs's own copies all of a tensor before it takes a part: LoRA factors, which are
 * slices of one vector, would cost their number times its size.
 */

import { stridesOf } from '../../tensor/shape.ts';
import type { Tfjs } from './open-tfjs.ts';

type KernelConfig = import('@tensorflow/tfjs-core').KernelConfig;
type TensorInfo = import('@tensorflow/tfjs-core').TensorInfo;
type Elements = Float32Array | Int32Array | Uint8Array;

/** What tfjs's wasm back end offers its kernels. */
interface WasmHeap {
  makeOutput(shape: readonly number[], dtype: string): TensorInfo;
  /** A view that is gone as soon as the memory grows. */
  typedArrayFromHeap(tensor: TensorInfo): Elements;
}

/** Copies `size` elements of each dimension from `begin` on. */
function copyPart(
  from: Elements,
  shape: readonly number[],
  begin: readonly number[],
  size: readonly number[],
  to: Elements,
): void {
  const strides = stridesOf(shape);
  // Dimensions behind the last one that is cut are copied as one run.
  let axis = shape.length - 1;
  while (axis > 0 && size[axis] === shape[axis]) axis--;
  const run = (size[axis] ?? 1) * (strides[axis] ?? 1);
  let written = 0;
  const visit = (dimension: number, offset: number): void => {
    const start = offset + (begin[dimension] ?? 0) * (strides[dimension] ?? 1);
    if (dimension >= axis) {
      to.set(from.subarray(start, start + run), written);
      written += run;
      return;
    }
    for (let i = 0; i < size[dimension]!; i++)
      visit(dimension + 1, start + i * strides[dimension]!);
  };
  if (to.length > 0) visit(0, 0);
}

/** Puts this kernel in the place of tfjs's. */
export function replaceWasmSlice(tf: Tfjs): void {
  const kernelFunc: KernelConfig['kernelFunc'] = ({ inputs, attrs, backend }) => {
    const heap = backend as WasmHeap;
    const x = inputs['x'] as import('@tensorflow/tfjs-core').Tensor;
    const given = attrs as unknown as { readonly begin: number[]; readonly size: number[] };
    const [begin, size] = tf.slice_util.parseSliceParams(x, given.begin, given.size);
    const out = heap.makeOutput(size as number[], x.dtype);
    const [from, to] = [heap.typedArrayFromHeap(x), heap.typedArrayFromHeap(out)];
    copyPart(from, x.shape, begin as number[], size as number[], to);
    return out;
  };
  tf.unregisterKernel('Slice', 'wasm');
  tf.registerKernel({ kernelName: 'Slice', backendName: 'wasm', kernelFunc });
}
