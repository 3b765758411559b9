/** @file The two golden files: their tensors and metadata, and what a writer must make of them. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sizeOf } from '../../src/tensor/shape.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

interface StoredVector {
  readonly tensors: Record<string, { dtype: 'F16' | 'F32'; shape: number[]; hex?: string }>;
  readonly metadata_in_order: [string, string][];
  readonly expect: {
    readonly file_base64?: string;
    readonly file_sha256: string;
    readonly sshs_model_hash: string;
    readonly sshs_legacy_hash: string;
  };
}

const stored = JSON.parse(
  readFileSync(join(import.meta.dirname, '../fixtures/weights/golden_vectors.json'), 'utf8'),
) as [StoredVector, StoredVector];

function tensorsOf({ tensors }: StoredVector): Map<string, Tensor> {
  return new Map(
    Object.entries(tensors).map(([name, { dtype, shape, hex }]) => {
      const width = dtype === 'F16' ? 2 : 4;
      const bytes = hex
        ? Uint8Array.from(Buffer.from(hex, 'hex'))
        : Uint8Array.from({ length: sizeOf(shape) * width }, (_, i) => (i * 31 + 7) & 255);
      const tensor: Tensor =
        dtype === 'F16'
          ? { dtype: 'f16', shape, data: new Uint16Array(bytes.buffer) }
          : { dtype: 'f32', shape, data: new Float32Array(bytes.buffer) };
      return [name, tensor];
    }),
  );
}

const vector = (raw: StoredVector) => ({
  tensors: tensorsOf(raw),
  metadata: new Map(raw.metadata_in_order),
  expected: raw.expect,
});

/** Five tensors of two dtypes, escapes and non-ASCII text; both hashes are in the metadata. */
export const tiny = vector(stored[0]);
/** 1.2 MB, so that the legacy hash covers real bytes; the hashes are yet to be added. */
export const large = vector(stored[1]);
