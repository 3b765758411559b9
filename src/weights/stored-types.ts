/** @file Element types as safetensors names them: size, rank in the writer's order, and ours. */

import type { DType } from '../tensor/dtype.ts';

interface StoredType {
  readonly tag: string;
  readonly bits: number;
  /** Ours, or null where we list a tensor but don't read it. */
  readonly dtype: DType | null;
}

const row = (tag: string, bits: number, dtype: DType | null = null): StoredType => ({
  tag,
  bits,
  dtype,
});

/** Highest rank first: the order in which the safetensors crate (0.3.1 and later) lays out data. */
const storedTypes: readonly StoredType[] = [
  row('U64', 64),
  row('I64', 64, 'i64'),
  row('F64', 64, 'f64'),
  row('C64', 64),
  row('F32', 32, 'f32'),
  row('U32', 32),
  row('I32', 32, 'i32'),
  row('BF16', 16, 'bf16'),
  row('F16', 16, 'f16'),
  row('U16', 16),
  row('I16', 16, 'i16'),
  row('F8_E5M2FNUZ', 8),
  row('F8_E4M3FNUZ', 8),
  row('F8_E8M0', 8),
  row('F8_E4M3', 8),
  row('F8_E5M2', 8),
  row('I8', 8, 'i8'),
  row('U8', 8, 'u8'),
  row('F6_E3M2', 6),
  row('F6_E2M3', 6),
  row('F4', 4),
  row('BOOL', 8, 'bool'),
];

const byTag = new Map(storedTypes.map((type) => [type.tag, type]));
const byDtype = new Map(storedTypes.map((type, rank) => [type.dtype, { tag: type.tag, rank }]));

/** What is known of a type's name in a file; undefined where the name is not known. */
export function storedType(tag: string): StoredType | undefined {
  return byTag.get(tag);
}

/** The name of one of our dtypes in a file, and its place in the writer's order (0 comes first). */
export function storedAs(dtype: DType): { readonly tag: string; readonly rank: number } {
  const found = byDtype.get(dtype);
  if (!found) throw new Error(`internal: no safetensors name for ${dtype}`);
  return found;
}
