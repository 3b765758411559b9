/**
 * @file Weights in a folder of Hugging Face's libraries: one file, or several with an index that says
 * which tensor is in which.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { UserError } from '../tensor/user-error.ts';
import { fileError, oneLine, shown } from './file-error.ts';
import { openSafetensors, type SafetensorsFile } from './safetensors-file.ts';
import type { SafetensorsEntry } from './safetensors-header.ts';

/** Weights that may lie in several files; read like one. */
export interface ShardedFile {
  /** Of the one file, or of the folder. */
  readonly path: string;
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly files: readonly SafetensorsFile[];
  readF32Sync(key: string): Float32Array;
  readHalfSync(key: string): Uint16Array<ArrayBuffer>;
  close(): void;
}

/** The names of published files, with their precision in them where it is not f32. */
const variants = ['', '.fp16', '.bf16'];

/** @throws UserError where the file is no JSON object */
export function readJsonObject(path: string): Readonly<Record<string, unknown>> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw fileError(error, 'read', path);
  }
  try {
    const value: unknown = JSON.parse(text.replace(/^\uFEFF/, ''));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return value as Readonly<Record<string, unknown>>;
    }
  } catch {
    // Said below, as for a value that is no object.
  }
  throw new UserError(`${oneLine(path)}: this is not a JSON object; get the file again`);
}

/** Tensors by the file that the index says they are in. */
function readIndex(path: string): Map<string, string> {
  const { weight_map: map } = readJsonObject(path);
  if (typeof map !== 'object' || map === null) {
    throw new UserError(`${oneLine(path)}: there is no weight_map; get the file again`);
  }
  return new Map(
    Object.entries(map).map(([key, file]) => {
      // A name alone: nothing outside of the folder is read because an index says so.
      if (typeof file === 'string' && file === basename(file)) return [key, file];
      throw new UserError(
        `${oneLine(path)}: ${shown(key)} is in ${shown(String(file))}, which is no file name`,
      );
    }),
  );
}

/** A shard for each tensor of the index. */
async function openIndexed(folder: string, indexName: string): Promise<ShardedFile> {
  const places = readIndex(join(folder, indexName));
  const shards = new Map<string, SafetensorsFile>();
  const close = () => {
    for (const shard of shards.values()) shard.close();
  };
  try {
    for (const name of new Set(places.values())) {
      shards.set(name, await openSafetensors(join(folder, name)));
    }
    const entries = new Map<string, SafetensorsEntry>();
    for (const [key, name] of places) {
      const entry = shards.get(name)!.entries.get(key);
      if (!entry) {
        throw new UserError(
          `${oneLine(join(folder, name))}: the index says that ${shown(key)} is in it, and it is not; get both again`,
        );
      }
      entries.set(key, entry);
    }
    const shardOf = (key: string): SafetensorsFile => {
      const name = places.get(key);
      if (name === undefined) throw new UserError(`${oneLine(folder)}: no tensor ${shown(key)}`);
      return shards.get(name)!;
    };
    return {
      path: folder,
      entries,
      files: [...shards.values()],
      readF32Sync: (key) => shardOf(key).readF32Sync(key),
      readHalfSync: (key) => shardOf(key).readHalfSync(key),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * Opens the weights in a folder.
 * @param stem of the file's name, such as `model` or `diffusion_pytorch_model`
 * @throws UserError where there are none, or a shard is missing or damaged
 */
export async function openSharded(folder: string, stem: string): Promise<ShardedFile> {
  for (const variant of variants) {
    const single = join(folder, `${stem}${variant}.safetensors`);
    if (existsSync(single)) {
      const file = await openSafetensors(single);
      return {
        path: single,
        entries: file.entries,
        files: [file],
        readF32Sync: (key) => file.readF32Sync(key),
        readHalfSync: (key) => file.readHalfSync(key),
        close: () => file.close(),
      };
    }
    const indexName = `${stem}.safetensors.index${variant}.json`;
    if (existsSync(join(folder, indexName))) return openIndexed(folder, indexName);
  }
  const pickles = existsSync(folder)
    ? readdirSync(folder).filter((name) => /\.(bin|ckpt|pt)$/.test(name))
    : [];
  // Opening it says what a pickle is, and how to convert it.
  if (pickles[0]) await openSafetensors(join(folder, pickles[0]));
  throw new UserError(
    `${oneLine(folder)}: there is no ${stem}.safetensors; get the whole model, with its folders`,
  );
}
