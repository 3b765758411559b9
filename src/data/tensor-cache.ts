/** @file A folder of float tensors under text keys; a damaged entry counts as absent. */

import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { sizeOf } from '../tensor/shape.ts';
import { f32, type Tensor } from '../tensor/tensor.ts';
import { UserError } from '../tensor/user-error.ts';

/*
 * An entry, little-endian:
 *   0  magic `SDLTENSR`
 *   8  u32 version
 *  12  u32 CRC-32 of all bytes from 16 on
 *  16  u32 length of the key in bytes
 *  20  u32 rank
 *  24  u32 × rank, the shape
 *      the key, UTF-8
 *      f32 × size, the elements
 */
const magic = Buffer.from('SDLTENSR', 'latin1');
const version = 1;
const checkedFrom = 16;
const fixedBytes = 24;

/** Temporary files older than this belong to no running process. */
const staleMilliseconds = 60 * 60 * 1000;

function encode(key: string, { shape, data }: Tensor<'f32'>): Buffer {
  const keyBytes = Buffer.from(key);
  const header = Buffer.alloc(fixedBytes + 4 * shape.length);
  magic.copy(header);
  header.writeUInt32LE(version, 8);
  header.writeUInt32LE(keyBytes.length, 16);
  header.writeUInt32LE(shape.length, 20);
  shape.forEach((size, i) => {
    header.writeUInt32LE(size, fixedBytes + 4 * i);
  });
  const elements = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const bytes = Buffer.concat([header, keyBytes, elements]);
  bytes.writeUInt32LE(crc32(bytes.subarray(checkedFrom)), 12);
  return bytes;
}

/** The tensor of an entry, or null where the bytes are not a whole entry with this key. */
function decode(key: string, bytes: Buffer): Tensor<'f32'> | null {
  if (bytes.length < fixedBytes || !bytes.subarray(0, 8).equals(magic)) return null;
  if (bytes.readUInt32LE(8) !== version) return null;
  if (crc32(bytes.subarray(checkedFrom)) !== bytes.readUInt32LE(12)) return null;
  const keyAt = fixedBytes + 4 * bytes.readUInt32LE(20);
  const dataAt = keyAt + bytes.readUInt32LE(16);
  if (bytes.toString('utf8', keyAt, dataAt) !== key) return null;
  const shape: number[] = [];
  for (let at = fixedBytes; at < keyAt; at += 4) shape.push(bytes.readUInt32LE(at));
  const elements = bytes.subarray(dataAt);
  if (elements.length !== 4 * sizeOf(shape)) return null;
  // Copied, for the elements may start at any byte.
  const data = new Float32Array(sizeOf(shape));
  new Uint8Array(data.buffer).set(elements);
  return f32(shape, data);
}

/** Writes and syncs a temporary file beside `path`, then renames it. */
async function writeWhole(path: string, bytes: Buffer): Promise<void> {
  const temporary = `${path}.${process.pid}-${randomUUID().slice(0, 8)}.tmp`;
  try {
    const file = await open(temporary, 'wx');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Tensors on disk, one file each. Several processes may share the folder. */
export class TensorCache {
  readonly #folder: string;
  readonly #extension: string;

  /**
   * @param folder made with the first entry
   * @param extension of the files, such as `.latent`
   */
  constructor(folder: string, extension: string) {
    this.#folder = folder;
    this.#extension = extension;
  }

  /** The file of a key, whether it exists or not. */
  pathOf(key: string): string {
    const name = createHash('sha256').update(key).digest('hex');
    return join(this.#folder, name + this.#extension);
  }

  /** The tensor of a key, or null where there is none, or only a damaged one: then compute it anew. */
  async get(key: string): Promise<Tensor<'f32'> | null> {
    const path = this.pathOf(key);
    const bytes = await readFile(path).catch(() => null);
    const tensor = bytes && decode(key, bytes);
    if (tensor) {
      // So that `prune` knows what is in use; a read-only cache does without.
      const now = new Date();
      await utimes(path, now, now).catch(() => undefined);
    }
    return tensor;
  }

  /**
   * Keeps a tensor; an entry of the same key is replaced, whole.
   * @throws UserError where the folder cannot be written to or the disk is full.
   */
  async put(key: string, tensor: Tensor<'f32'>): Promise<void> {
    try {
      await mkdir(this.#folder, { recursive: true });
      await writeWhole(this.pathOf(key), encode(key, tensor));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === undefined) throw error;
      const advice =
        code === 'ENOSPC' ? 'the disk is full; free some space' : `${code}; check its permissions`;
      throw new UserError(
        `${this.#folder}: the cache cannot be written to (${advice}, or set another cache folder)`,
      );
    }
  }

  /**
   * Removes the entries that were not used for longest, until the rest takes `maxBytes` or less, and
   * what interrupted writes have left.
   * @returns how many entries went, and the bytes that are left.
   */
  async prune(maxBytes: number): Promise<{ readonly removed: number; readonly bytes: number }> {
    const entries: { path: string; bytes: number; used: number }[] = [];
    for (const name of await readdir(this.#folder).catch(() => [])) {
      const path = join(this.#folder, name);
      const facts = await stat(path).catch(() => null);
      if (!facts?.isFile()) continue;
      if (name.endsWith(this.#extension)) {
        entries.push({ path, bytes: facts.size, used: facts.mtimeMs });
      } else if (name.includes(`${this.#extension}.`) && name.endsWith('.tmp')) {
        if (Date.now() - facts.mtimeMs > staleMilliseconds) await rm(path, { force: true });
      }
    }
    let bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
    let removed = 0;
    for (const entry of entries.sort((a, b) => a.used - b.used)) {
      if (bytes <= maxBytes) break;
      await rm(entry.path, { force: true });
      bytes -= entry.bytes;
      removed++;
    }
    return { removed, bytes };
  }
}
