/** @file Opens the base model of a run: the checkpoint, its VAE, and the hashes that identify them. */

import { basename } from 'node:path';
import type { SourceFile } from '../export/kohya-metadata.ts';
import type { Checkpoint } from '../models/checkpoint.ts';
import { openCheckpoint } from '../models/single-file.ts';
import { fileSha256, sdModelHash } from '../weights/hashes.ts';
import { openSafetensors, type SafetensorsFile } from '../weights/safetensors-file.ts';

/** An open base model. */
export interface Base {
  readonly checkpoint: Checkpoint;
  readonly file: SourceFile;
  readonly vaeFile: SourceFile | null;
  /** Identifies the VAE's weights and the precision that it runs in. */
  readonly vaeKey: string;
  close(): void;
}

async function describe(path: string): Promise<SourceFile & { readonly sha256: string }> {
  return {
    name: basename(path),
    legacyHash: await sdModelHash(path),
    sha256: await fileSha256(path),
  };
}

/**
 * Opens a checkpoint, with a VAE in a file of its own where given.
 * @throws UserError where a file is missing, damaged, or of another kind
 */
export async function openBase(path: string, vaePath: string | null): Promise<Base> {
  const opened: SafetensorsFile[] = [];
  const open = async (file: string) => {
    const found = await openSafetensors(file);
    opened.push(found);
    return found;
  };
  const close = () => {
    for (const file of opened) file.close();
  };
  try {
    const file = await open(path);
    const vae = vaePath === null ? undefined : await open(vaePath);
    const checkpoint = openCheckpoint(file, { vae });
    const description = await describe(path);
    const vaeFile = vaePath === null ? null : await describe(vaePath);
    const vaeKey = `vae f32 ${(vaeFile ?? description).sha256}`;
    return { checkpoint, file: description, vaeFile, vaeKey, close };
  } catch (error) {
    close();
    throw error;
  }
}
