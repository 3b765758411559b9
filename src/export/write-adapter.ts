/** @file Writes an adapter file, reads it back, and only then puts it in its place. */

import { sameShape } from '../tensor/shape.ts';
import { UserError } from '../tensor/user-error.ts';
import { writeFileAtomic } from '../weights/atomic-write.ts';
import { sshsModelHash } from '../weights/hashes.ts';
import { openSafetensors, type SafetensorsFile } from '../weights/safetensors-file.ts';
import type { Metadata } from '../weights/safetensors-header.ts';
import {
  type AdapterFile,
  type AdapterModule,
  type AdapterNaming,
  type AdapterPrecision,
  adapterFile,
} from './adapter-file.ts';

/** Largest error of rounding to nearest, relative to the value, and near zero. */
const roundingError: {
  readonly [P in AdapterPrecision]: { readonly relative: number; readonly absolute: number };
} = {
  f32: { relative: 0, absolute: 0 },
  f16: { relative: 2 ** -11, absolute: 2 ** -25 },
  bf16: { relative: 2 ** -8, absolute: 2 ** -134 },
};

/** The first difference between what a file holds and what it should hold, or null. */
function difference(
  file: SafetensorsFile,
  { expected, metadata, modelHash }: AdapterFile,
  precision: AdapterPrecision,
): string | null {
  if (file.entries.size !== expected.size) return `${file.entries.size} tensors`;
  const { relative, absolute } = roundingError[precision];
  for (const [key, { shape, data }] of expected) {
    const entry = file.entries.get(key);
    if (!entry || entry.dtype !== precision || !sameShape(entry.shape, shape)) {
      return `${key} is ${entry ? `${entry.stored} [${entry.shape}]` : 'missing'}`;
    }
    const values = file.readF32Sync(key);
    const wrong = values.findIndex(
      (value, i) =>
        !(Math.abs(value - data[i]!) <= Math.max(relative * Math.abs(data[i]!), absolute)),
    );
    if (wrong >= 0) return `${key} has ${values[wrong]} at ${wrong} instead of ${data[wrong]}`;
  }
  if (sshsModelHash(file.dataSlices()) !== modelHash) return 'the hash of the data';
  const texts = JSON.stringify([...file.metadata]) === JSON.stringify([...metadata]);
  return texts ? null : 'the metadata';
}

/**
 * Writes an adapter, wholly or not at all: the temporary file is read back and
 * compared, tensor by tensor, before it gets its name.
 * @param options.metadata of `kohyaMetadata`; the `sshs_*` hashes are added here
 * @returns SHA-256 of the data section, which the web UI shows the first 12 digits of
 * @throws UserError where a value is not finite (in this precision), or the disk fails
 */
export async function writeAdapter(options: {
  readonly path: string;
  readonly modules: readonly AdapterModule[];
  readonly metadata: Metadata;
  readonly precision: AdapterPrecision;
  /** kohya's names unless given. */
  readonly naming?: AdapterNaming;
}): Promise<string> {
  const { path, modules, metadata, precision, naming } = options;
  const content = adapterFile(modules, metadata, precision, naming);
  await writeFileAtomic(path, content.chunks, async (temporary) => {
    const file = await openSafetensors(temporary);
    try {
      const found = difference(file, content, precision);
      if (found !== null) {
        throw new UserError(
          `${path}: what was written reads back differently (${found}); the disk may be failing, so nothing was kept`,
        );
      }
    } finally {
      file.close();
    }
  });
  return content.modelHash;
}
