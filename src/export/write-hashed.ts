/** @file Writes an adapter's bytes, and compares what the disk gives back before the file gets its name. */

import { sameShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { UserError } from '../tensor/user-error.ts';
import { writeFileAtomic } from '../weights/atomic-write.ts';
import { sshsModelHash } from '../weights/hashes.ts';
import { openSafetensors } from '../weights/safetensors-file.ts';
import type { Metadata } from '../weights/safetensors-header.ts';
import { hashedContent } from './hashed-content.ts';

/**
 * Writes tensors as they are, wholly or not at all.
 * @returns SHA-256 of the data section
 * @throws UserError where the disk fails
 */
export async function writeHashed(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Metadata,
): Promise<string> {
  const content = hashedContent(tensors, metadata);
  await writeFileAtomic(path, content.chunks, async (temporary) => {
    const file = await openSafetensors(temporary);
    try {
      const isSame = ([key, { dtype, shape }]: readonly [string, Tensor]) => {
        const entry = file.entries.get(key);
        return entry !== undefined && entry.dtype === dtype && sameShape(entry.shape, shape);
      };
      const sound =
        file.entries.size === tensors.size &&
        [...tensors].every(isSame) &&
        sshsModelHash(file.dataSlices()) === content.modelHash;
      if (sound) return;
      throw new UserError(
        `${path}: what was written reads back differently; the disk may be failing, so nothing was kept`,
      );
    } finally {
      file.close();
    }
  });
  return content.modelHash;
}
