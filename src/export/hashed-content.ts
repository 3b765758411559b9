/** @file The bytes of an adapter file with the hashes by which web UIs and kohya's tools know it. */

import type { Tensor } from '../tensor/tensor.ts';
import { sshsLegacyHash, sshsModelHash } from '../weights/hashes.ts';
import type { Metadata } from '../weights/safetensors-header.ts';
import { dataChunks, serializeHeader } from '../weights/safetensors-writer.ts';

/** A file's content, ready to be written. */
export interface HashedContent {
  /** `ss_*` first, both hashes last. */
  readonly metadata: Metadata;
  /** The bytes of the file, in pieces. */
  readonly chunks: readonly Uint8Array[];
  /** SHA-256 of the data section, which is also `sshs_model_hash`. */
  readonly modelHash: string;
}

/** Lays out a file; hashes that the metadata has already are replaced. */
export function hashedContent(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Metadata,
): HashedContent {
  const data = dataChunks(tensors);
  const modelHash = sshsModelHash(data);
  const training = [...metadata].filter(([key]) => key.startsWith('ss_'));
  const others = [...metadata].filter(([key]) => !/^ss(hs)?_/.test(key));
  // The legacy hash is that of a file with the training fields alone (format of kohya's tools).
  const legacyHash = sshsLegacyHash([serializeHeader(tensors, new Map(training)), ...data]);
  const complete = new Map([
    ...training,
    ...others,
    ['sshs_model_hash', modelHash] as const,
    ['sshs_legacy_hash', legacyHash] as const,
  ]);
  // ModelSpec writes the same hash in a way of its own, where it is written at all.
  if (complete.has('modelspec.hash_sha256')) {
    complete.set('modelspec.hash_sha256', `0x${modelHash}`);
  }
  return { metadata: complete, chunks: [serializeHeader(tensors, complete), ...data], modelHash };
}
