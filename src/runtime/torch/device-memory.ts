/** @file Tensors of one device: made, filled from the host, and read back. */

import { type Shape, sizeOf, stridesOf } from '../../tensor/shape.ts';
import type { TorchDevice } from './device.ts';
import { check, type TorchDType, type TorchLibrary } from './torch-library.ts';

/** What the host holds of a tensor. */
type HostValues = Float32Array | Int32Array | BigInt64Array;

/** Where a tensor lies; pinned host memory is copied to a GPU while the host goes on. */
type Place = 'device' | 'host' | 'pinned';

/** Floats that no device has room for: 16 TiB of them. */
const tooMany = 2 ** 42;

const big = (numbers: readonly number[]) => BigInt64Array.from(numbers, BigInt);

/** The strides of an image or a kernel [n, c, h, w] whose channels are innermost. */
export function channelsLastStrides([, channels, height, width]: Shape): number[] {
  const c = channels!;
  return [height! * width! * c, 1, width! * c, c];
}

/** A host tensor and the view of its memory. */
export interface HostTensor {
  readonly handle: number;
  readonly values: HostValues;
}

export class DeviceMemory {
  readonly #library: TorchLibrary;
  readonly #device: TorchDevice;
  /** Three cells: the stack of a copy. */
  readonly #stack: number;
  readonly #cells: BigUint64Array;
  readonly #copy: (stack: number) => number;

  constructor(library: TorchLibrary, device: TorchDevice) {
    this.#library = library;
    this.#device = device;
    this.#copy = library.operation('aten::copy_', '');
    this.#stack = library.allocateCells(3);
    this.#cells = new BigUint64Array(library.view(this.#stack, 24));
  }

  get deviceKind(): TorchDevice['kind'] {
    return this.#device.kind;
  }

  /** An unfilled tensor; row-major unless strides are given. */
  allocate(
    shape: Shape,
    dtype: TorchDType,
    strides: readonly number[] = stridesOf(shape),
    place: Place = 'device',
  ): number {
    const library = this.#library;
    const { kind, index } = this.#device;
    const [device, number] = place === 'device' ? [kind, index] : (['cpu', -1] as const);
    const make = place === 'pinned' ? library.emptyStridedPinned : library.emptyStrided;
    const [sizes, steps] = [big(shape), big(strides)];
    const codes = [library.dtypeCodes[dtype], library.deviceCodes[device]] as const;
    check(
      library,
      make(shape.length, sizes, steps, ...codes, number, this.#stack),
      `a tensor ${dtype}[${shape}] on ${kind}`,
    );
    return Number(this.#cells[0]!);
  }

  /** An unfilled, row-major tensor of host memory. */
  allocateHost(shape: Shape, dtype: 'f32' | 'i32' | 'i64', place: 'host' | 'pinned'): HostTensor {
    const library = this.#library;
    const handle = this.allocate(shape, dtype, stridesOf(shape), place);
    check(library, library.dataPointer(handle, this.#stack), 'the memory of a tensor');
    const size = sizeOf(shape);
    const bytes = size * (dtype === 'i64' ? 8 : 4);
    const memory = bytes > 0 ? library.view(Number(this.#cells[0]!), bytes) : new ArrayBuffer(0);
    if (dtype === 'f32') return { handle, values: new Float32Array(memory) };
    const values = dtype === 'i32' ? new Int32Array(memory) : new BigInt64Array(memory);
    return { handle, values };
  }

  /** Copies values from one tensor to another of the same shape, whatever their types and places. */
  copy(from: number, to: number, { wait = true } = {}): void {
    const library = this.#library;
    check(library, library.newHandle(to, this.#stack), 'a handle');
    check(library, library.newHandle(from, this.#stack + 8), 'a handle');
    this.#cells[2] = wait ? 0n : 1n;
    check(library, this.#copy(this.#stack), 'aten::copy_');
    this.free(Number(this.#cells[0]!));
  }

  /** A tensor of the device with the host's values; one value fills it. */
  upload(
    values: ArrayLike<number>,
    shape: Shape,
    dtype: TorchDType,
    strides?: readonly number[],
  ): number {
    const hostType = dtype === 'i64' || dtype === 'i32' ? dtype : 'f32';
    const host = this.allocateHost(shape, hostType, 'host');
    if (host.values instanceof BigInt64Array) {
      host.values.set(Array.from(values, BigInt));
    } else if (values.length === 1) {
      host.values.fill(values[0]!);
    } else {
      host.values.set(values);
    }
    const isPlain = strides === undefined || `${strides}` === `${stridesOf(shape)}`;
    if (this.#device.kind === 'cpu' && dtype === hostType && isPlain) return host.handle;
    let handle = 0;
    try {
      handle = this.allocate(shape, dtype, strides);
      this.copy(host.handle, handle);
      return handle;
    } catch (error) {
      this.free(handle);
      throw error;
    } finally {
      this.free(host.handle);
    }
  }

  /** The host's copy of a tensor, which waits for what is still being computed. */
  download(handle: number, shape: Shape, dtype: 'f32' | 'i32'): Float32Array | Int32Array {
    const host = this.allocateHost(shape, dtype, 'host');
    try {
      this.copy(handle, host.handle);
      return host.values.slice() as Float32Array | Int32Array;
    } finally {
      this.free(host.handle);
    }
  }

  /**
   * Lets the allocator give back to the device what it keeps unused: it does so before it says that
   * there is not enough, and no C function asks for it otherwise.
   */
  releaseCache(): void {
    const library = this.#library;
    const { kind, index } = this.#device;
    const codes = [library.dtypeCodes.f32, library.deviceCodes[kind]] as const;
    const cells = big([tooMany]);
    const made = library.quietly(() =>
      library.emptyStrided(1, cells, big([1]), ...codes, index, this.#stack),
    );
    if (made === 0) this.free(Number(this.#cells[0]!));
  }

  free(handle: number): void {
    if (handle !== 0) this.#library.deleteTensor(handle);
  }

  dispose(): void {
    this.#library.freeCells(this.#stack);
  }
}
