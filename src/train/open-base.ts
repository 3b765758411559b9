/** @file Opens the base model of a run, with the hashes that identify it. */

import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type { SourceFile } from '../export/kohya-metadata.ts';
import type { Checkpoint } from '../models/checkpoint.ts';
import { fileSha256, sdModelHash } from '../weights/hashes.ts';
import type { SafetensorsFile } from '../weights/safetensors-file.ts';
import { openModel } from './open-model.ts';

/** A source with the hash of all its bytes. */
type HashedSource = SourceFile & { readonly sha256: string };

/** An open base model. */
export interface Base {
  readonly checkpoint: Checkpoint;
  readonly file: SourceFile;
  readonly vaeFile: SourceFile | null;
  /** Identifies the VAE's weights and the precision that it runs in. */
  readonly vaeKey: string;
  /** Identifies the text encoders' weights. */
  readonly textKey: string;
  close(): void;
}

async function describe(path: string): Promise<HashedSource> {
  return {
    name: basename(path),
    legacyHash: await sdModelHash(path),
    sha256: await fileSha256(path),
  };
}

/** A folder is known by the hashes of its files, in their order. */
async function describeFolder(
  path: string,
  files: readonly SafetensorsFile[],
): Promise<HashedSource> {
  const hash = createHash('sha256');
  for (const file of files) hash.update(`${await fileSha256(file.path)}\n`);
  return { name: basename(path), sha256: hash.digest('hex') };
}

/**
 * Opens a checkpoint or a folder of diffusers, with a VAE in a file of its own where given.
 * @throws UserError where a file is missing, damaged, or of another kind
 */
export async function openBase(path: string, vaePath: string | null): Promise<Base> {
  const { checkpoint, files, close } = await openModel(path, vaePath);
  try {
    const isFile = files.length === 1 && files[0]!.path === path;
    const file = isFile ? await describe(path) : await describeFolder(path, files);
    const vaeFile = vaePath === null ? null : await describe(vaePath);
    const vaeKey = `vae f32 ${(vaeFile ?? file).sha256}`;
    return { checkpoint, file, vaeFile, vaeKey, textKey: `f32 ${file.sha256}`, close };
  } catch (error) {
    close();
    throw error;
  }
}
