/** @file Opens a safetensors file and reads single tensors of it; the file is never held whole. */

import { closeSync, fstatSync, openSync, read, readSync, statSync } from 'node:fs';
import { promisify } from 'node:util';
import { type DType, dtypeBytes } from '../tensor/dtype.ts';
import { bf16ToF32, f16ToF32 } from '../tensor/half.ts';
import { sizeOf } from '../tensor/shape.ts';
import type { HostArrays, Tensor } from '../tensor/tensor.ts';
import { UserError } from '../tensor/user-error.ts';
import { fileError, oneLine, shown } from './file-error.ts';
import { foreignFormat } from './foreign-format.ts';
import {
  type Metadata,
  parseSafetensorsHeader,
  type SafetensorsEntry,
} from './safetensors-header.ts';

/** The most that readers of the format accept, in bytes. */
const maxHeaderBytes = 100_000_000;
/** Bytes read at a time where they are converted, and where they are not. */
const scratchBytes = 1 << 20;
const directBytes = 1 << 26;

const readAsync = promisify(read);

/** A part of the file to be read next: `target` is filled from `position` on. */
interface Slice {
  readonly target: Uint8Array;
  readonly position: number;
}

const arrays: { readonly [D in DType]: new (buffer: ArrayBuffer) => HostArrays[D] } = {
  f64: Float64Array,
  f32: Float32Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  i64: BigInt64Array,
  i32: Int32Array,
  i16: Int16Array,
  i8: Int8Array,
  u8: Uint8Array,
  bool: Uint8Array,
};

/** Elements of any dtype to floats. `out` is as long as `from`. */
function toF32(dtype: DType, from: HostArrays[DType], out: Float32Array): void {
  if (dtype === 'f16') f16ToF32(from as Uint16Array, out);
  else if (dtype === 'bf16') bf16ToF32(from as Uint16Array, out);
  else if (from instanceof BigInt64Array) {
    for (let i = 0; i < out.length; i++) out[i] = Number(from[i]);
  } else out.set(from);
}

/** Yields the slices that fill `bytes` from `position` on, each at most `step` bytes. */
function* direct(bytes: Uint8Array, position: number): Generator<Slice, void> {
  for (let at = 0; at < bytes.length; at += directBytes) {
    yield { target: bytes.subarray(at, at + directBytes), position: position + at };
  }
}

/** Yields the slices of a tensor and, when each has been read, converts it into `out`. */
function* converted(dtype: DType, position: number, out: Float32Array): Generator<Slice, void> {
  const width = dtypeBytes[dtype];
  const step = scratchBytes / width;
  const buffer = new ArrayBuffer(Math.min(step, out.length) * width);
  const bytes = new Uint8Array(buffer);
  const values = new arrays[dtype](buffer);
  for (let at = 0; at < out.length; at += step) {
    const count = Math.min(step, out.length - at);
    yield { target: bytes.subarray(0, count * width), position: position + at * width };
    toF32(dtype, values.subarray(0, count), out.subarray(at, at + count));
  }
}

/** An open safetensors file. Reads may run at the same time; `close` it when done. */
export class SafetensorsFile {
  readonly path: string;
  /** By name, in the order of the data. */
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: Metadata;
  /** Where the data section starts in the file, in bytes. */
  readonly dataStart: number;
  /** Length of the whole file, in bytes. */
  readonly size: number;
  #fd: number | undefined;

  /** Takes over `fd`, open for reading; use `openSafetensors`. */
  constructor(path: string, fd: number) {
    this.path = path;
    this.#fd = fd;
    this.size = fstatSync(fd).size;
    this.dataStart = 8 + this.#headerLength();
    const header = new Uint8Array(this.dataStart - 8);
    this.#runSync(direct(header, 8));
    const { entries, metadata } = parseSafetensorsHeader(this.#decode(header), path);
    this.entries = entries;
    this.metadata = metadata;
    this.#checkLength();
  }

  /**
   * A tensor in the dtype it is stored in.
   * @throws UserError where there is no such tensor, or its type is not supported
   */
  async read(name: string): Promise<Tensor> {
    const { dtype, entry } = this.#readable(name);
    const buffer = new ArrayBuffer(entry.end - entry.begin);
    await this.#run(direct(new Uint8Array(buffer), this.dataStart + entry.begin));
    return { dtype, shape: entry.shape, data: new arrays[dtype](buffer) };
  }

  /** `read`, but not asynchronous. */
  readSync(name: string): Tensor {
    const { dtype, entry } = this.#readable(name);
    const buffer = new ArrayBuffer(entry.end - entry.begin);
    this.#runSync(direct(new Uint8Array(buffer), this.dataStart + entry.begin));
    return { dtype, shape: entry.shape, data: new arrays[dtype](buffer) };
  }

  /**
   * The values of a tensor as floats, whatever it is stored in.
   * @param out where to put them; as long as the tensor has elements
   * @throws UserError where there is no such tensor, or its type is not supported
   */
  async readF32(name: string, out?: Float32Array<ArrayBuffer>): Promise<Float32Array<ArrayBuffer>> {
    const { values, slices } = this.#floats(name, out);
    await this.#run(slices);
    return values;
  }

  /** `readF32`, but not asynchronous. */
  readF32Sync(name: string, out?: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
    const { values, slices } = this.#floats(name, out);
    this.#runSync(slices);
    return values;
  }

  /** The bits of a tensor that is stored as f16 or bf16. */
  readHalfSync(name: string): Uint16Array<ArrayBuffer> {
    const { data } = this.readSync(name);
    if (!(data instanceof Uint16Array)) throw new Error(`internal: ${name} has no 16-bit floats`);
    return data as Uint16Array<ArrayBuffer>;
  }

  /** The bytes of the data section, in order, in slices that are valid until the next one. */
  *dataSlices(): Generator<Uint8Array> {
    const buffer = new Uint8Array(Math.min(scratchBytes, this.size - this.dataStart));
    for (let at = this.dataStart; at < this.size; at += buffer.length) {
      const target = buffer.subarray(0, Math.min(buffer.length, this.size - at));
      this.#readWholeSync({ target, position: at });
      yield target;
    }
  }

  /** Frees the file; nothing can be read afterwards. */
  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #descriptor(): number {
    if (this.#fd === undefined) throw new Error(`internal: ${this.path} was closed`);
    return this.#fd;
  }

  #floats(name: string, out: Float32Array<ArrayBuffer> | undefined) {
    const { dtype, entry } = this.#readable(name);
    const count = sizeOf(entry.shape);
    const values = out ?? new Float32Array(count);
    if (values.length !== count) {
      throw new Error(`internal: ${values.length} floats to hold ${name}, which has ${count}`);
    }
    const position = this.dataStart + entry.begin;
    const slices =
      dtype === 'f32'
        ? direct(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), position)
        : converted(dtype, position, values);
    return { values, slices };
  }

  #readable(name: string): { readonly dtype: DType; readonly entry: SafetensorsEntry } {
    const entry = this.entries.get(name);
    if (!entry) throw new UserError(`${oneLine(this.path)}: there is no tensor ${shown(name)}`);
    if (entry.dtype === null) {
      throw new UserError(
        `${oneLine(this.path)}: ${shown(name)} is stored as ${shown(entry.stored)}, which is not supported; ` +
          'use a version of the file in F32, F16 or BF16',
      );
    }
    return { dtype: entry.dtype, entry };
  }

  #headerLength(): number {
    const head = new Uint8Array(Math.min(64, this.size));
    this.#runSync(direct(head, 0));
    const foreign = foreignFormat(head, this.path);
    if (foreign) throw this.#bad(foreign);
    if (this.size < 8) {
      throw this.#bad(
        this.size === 0
          ? 'the file is empty; get it again'
          : `${this.size} bytes are too few for a safetensors file; get it again`,
      );
    }
    const length = Number(new DataView(head.buffer).getBigUint64(0, true));
    if (length > maxHeaderBytes || length < 2 || (head.length > 8 && head[8] !== 0x7b)) {
      throw this.#bad(
        'this is not a safetensors file: no header at its start; check that it is the right file',
      );
    }
    if (8 + length > this.size) throw this.#cut(8 + length - this.size, 'at least ');
    return length;
  }

  #decode(header: Uint8Array): string {
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(header);
    } catch {
      throw this.#bad('the safetensors header is damaged (it is not UTF-8); get the file again');
    }
  }

  #checkLength(): void {
    let dataBytes = 0;
    for (const entry of this.entries.values()) dataBytes = entry.end;
    const missing = this.dataStart + dataBytes - this.size;
    if (missing > 0) throw this.#cut(missing, '');
    if (missing < 0) {
      throw this.#bad(
        `${-missing} bytes follow the last tensor; the file is damaged, get it again`,
      );
    }
  }

  #bad(message: string): UserError {
    return new UserError(`${oneLine(this.path)}: ${message}`);
  }

  #cut(missing: number, atLeast: string): UserError {
    return this.#bad(
      `the file is cut off: it has ${this.size} bytes, ${atLeast}${missing} are missing at its end; ` +
        'the download or copy stopped early, so get it again',
    );
  }

  async #run(slices: Iterable<Slice>): Promise<void> {
    for (const { target, position } of slices) {
      for (let done = 0; done < target.length; ) {
        const { bytesRead } = await readAsync(
          this.#descriptor(),
          target,
          done,
          target.length - done,
          position + done,
        ).catch((error: unknown) => {
          throw fileError(error, 'read', this.path);
        });
        done += this.#progress(bytesRead);
      }
    }
  }

  #runSync(slices: Iterable<Slice>): void {
    for (const slice of slices) this.#readWholeSync(slice);
  }

  #readWholeSync({ target, position }: Slice): void {
    for (let done = 0; done < target.length; ) {
      let count: number;
      try {
        count = readSync(this.#descriptor(), target, done, target.length - done, position + done);
      } catch (error) {
        throw fileError(error, 'read', this.path);
      }
      done += this.#progress(count);
    }
  }

  #progress(bytesRead: number): number {
    if (bytesRead === 0) throw this.#bad('the file became shorter while it was being read');
    return bytesRead;
  }
}

/**
 * Opens a file and reads its header.
 * @throws UserError where the file is missing, no safetensors file, damaged or cut off
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  let fd: number | undefined;
  try {
    // Before it is opened: opening a pipe would wait for its other end.
    const stat = statSync(path);
    if (!stat.isFile()) {
      const what = stat.isDirectory() ? 'a folder' : 'no ordinary file';
      throw new UserError(`${oneLine(path)}: this is ${what}; a .safetensors file is expected`);
    }
    fd = openSync(path, 'r');
    return new SafetensorsFile(path, fd);
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    throw fileError(error, 'read', path);
  }
}
