/** @file Element types of tensors: their names, sizes and host arrays. */

/** Element types that a checkpoint, an adapter or a graph can hold. */
export type DType = 'f64' | 'f32' | 'f16' | 'bf16' | 'i64' | 'i32' | 'i16' | 'i8' | 'u8' | 'bool';

/** Element types that a graph computes with. */
export type ComputeDType = 'f32' | 'i32';

/** Bytes of one element. */
export const dtypeBytes: { readonly [D in DType]: number } = {
  f64: 8,
  f32: 4,
  f16: 2,
  bf16: 2,
  i64: 8,
  i32: 4,
  i16: 2,
  i8: 1,
  u8: 1,
  bool: 1,
};
