/** @file The parameters of a launch in memory of their own: each in a cell of 8 bytes, then where the cells are. */

import { check, type TorchLibrary } from '../torch-library.ts';
import { type KernelScalar, type Launch, packBytes } from './kernel.ts';

const cellBytes = 8;

/** The first four bytes of a cell. */
const scalarBits = (scalar: KernelScalar) =>
  'f32' in scalar
    ? BigInt(new Uint32Array(new Float32Array([scalar.f32]).buffer)[0]!)
    : BigInt.asUintN(32, BigInt(scalar.i32));

type Library = Pick<
  TorchLibrary,
  'allocateCells' | 'freeCells' | 'view' | 'dataPointer' | 'lastError'
>;

export class KernelParameters {
  readonly #library: Library;
  readonly #launch: Launch;
  readonly #block: number;
  readonly #count: number;
  readonly #words: Uint32Array;

  /** @param tensors how many parameters are tensors, which come first */
  constructor(library: Library, launch: Launch, tensors: number) {
    this.#library = library;
    this.#launch = launch;
    const count = tensors + launch.scalars.length;
    this.#count = count;
    this.#block = library.allocateCells(2 * count);
    const cells = new BigUint64Array(library.view(this.#block, 2 * count * cellBytes));
    this.#words = new Uint32Array(cells.buffer);
    for (let i = 0; i < count; i++) cells[count + i] = BigInt(this.#block + i * cellBytes);
    for (const [i, scalar] of launch.scalars.entries()) cells[tensors + i] = scalarBits(scalar);
  }

  /** The array with each parameter's address. */
  get address(): number {
    return this.#block + this.#count * cellBytes;
  }

  /** Puts a tensor's memory in its place. */
  set(place: number, handle: number): void {
    const library = this.#library;
    const status = library.dataPointer(handle, this.#block + place * cellBytes);
    check(library, status, 'the memory of a tensor');
    const { kernel, alignment = packBytes } = this.#launch;
    if (this.#words[2 * place]! % alignment === 0) return;
    throw new Error(
      `internal: ${kernel.entry}: argument ${place} is not at a multiple of ${alignment}`,
    );
  }

  dispose(): void {
    this.#library.freeCells(this.#block);
  }
}
