/** @file A file of PyTorch's numbers: its tensors by name, and which of them nobody asked for yet. */

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Shape } from '../../src/tensor/shape.ts';
import { f32, i32, type Tensor } from '../../src/tensor/tensor.ts';
import { UserError } from '../../src/tensor/user-error.ts';
import { openSafetensors, type SafetensorsFile } from '../../src/weights/safetensors-file.ts';

export class GoldenFile {
  readonly #file: SafetensorsFile;
  readonly #read = new Set<string>();

  constructor(file: SafetensorsFile) {
    this.#file = file;
  }

  get names(): string[] {
    return [...this.#file.entries.keys()];
  }

  has(name: string): boolean {
    return this.#file.entries.has(name);
  }

  /** @throws UserError where there is no such tensor */
  shape(name: string): Shape {
    return this.#file.entries.get(name)?.shape ?? this.#file.readSync(name).shape;
  }

  /** The values as floats, without loss for F32 and F16. */
  f32(name: string): Tensor<'f32'> {
    this.#read.add(name);
    return f32(this.shape(name), this.#file.readF32Sync(name));
  }

  /** Token ids. */
  i32(name: string): Tensor<'i32'> {
    return i32(this.shape(name), this.values(name));
  }

  /** The values of any type; F64 keeps its precision. */
  values(name: string): number[] {
    this.#read.add(name);
    return Array.from(this.#file.readSync(name).data, Number);
  }

  /** The only value. */
  scalar(name: string): number {
    const [value, ...rest] = this.values(name);
    if (value === undefined || rest.length > 0) {
      throw new UserError(`${this.#file.path}: ${name} should have one value`);
    }
    return value;
  }

  /** The middle parts of names: of `unet.sq.out`, with prefix `unet.` and suffix `.out`, `sq`. */
  between(prefix: string, suffix: string): string[] {
    return this.names
      .filter((name) => name.startsWith(prefix) && name.endsWith(suffix))
      .map((name) => name.slice(prefix.length, -suffix.length))
      .filter((middle) => middle.length > 0 && !middle.includes('.'));
  }

  unread(): string[] {
    return this.names.filter((name) => !this.#read.has(name));
  }

  close(): void {
    this.#file.close();
  }
}

/** @throws UserError where the file is missing or damaged */
export async function openGolden(path: string): Promise<GoldenFile> {
  return new GoldenFile(await openSafetensors(path));
}

/** @throws UserError where the file is missing or no JSON */
export async function readJson<T>(path: string): Promise<T> {
  if (!existsSync(path)) throw new UserError(`cannot read ${path}: no such file; check the path`);
  try {
    return JSON.parse(await readFile(path, 'utf8')) as T;
  } catch (error) {
    throw new UserError(`${path}: this is no JSON file (${(error as Error).message})`);
  }
}
