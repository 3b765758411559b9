/** @file The host tensor: a dtype, a shape and its elements in a typed array, row-major. */

import type { DType } from './dtype.ts';
import { type Shape, sizeOf } from './shape.ts';

/** Host arrays by dtype; f16 and bf16 are kept as their 16-bit patterns, bool as bytes. */
export interface HostArrays {
  readonly f64: Float64Array;
  readonly f32: Float32Array;
  readonly f16: Uint16Array;
  readonly bf16: Uint16Array;
  readonly i64: BigInt64Array;
  readonly i32: Int32Array;
  readonly i16: Int16Array;
  readonly i8: Int8Array;
  readonly u8: Uint8Array;
  readonly bool: Uint8Array;
}

/** A tensor in host memory. `data.length` is the product of `shape`. */
export interface Tensor<D extends DType = DType> {
  readonly dtype: D;
  readonly shape: Shape;
  readonly data: HostArrays[D];
}

/** A float tensor over `data`, or zeros. */
export function f32(shape: Shape, data?: ArrayLike<number>): Tensor<'f32'> {
  const array =
    data instanceof Float32Array
      ? data
      : data
        ? Float32Array.from(data)
        : new Float32Array(sizeOf(shape));
  if (array.length !== sizeOf(shape)) {
    throw new Error(`internal: ${array.length} values for a tensor of shape [${shape}]`);
  }
  return { dtype: 'f32', shape, data: array };
}

/** An integer tensor. */
export function i32(shape: Shape, data: ArrayLike<number>): Tensor<'i32'> {
  const array = data instanceof Int32Array ? data : Int32Array.from(data);
  if (array.length !== sizeOf(shape)) {
    throw new Error(`internal: ${array.length} values for a tensor of shape [${shape}]`);
  }
  return { dtype: 'i32', shape, data: array };
}
