/**
 * @file A second stream beside the one that libtorch computes on: small kernels there fill what others leave
 * of a GPU. libtorch's allocator knows the order of one stream alone, so what is read here is held until the first
 * stream has waited for it.
 */

import type { CudaDriver, CudaEvent, CudaStream } from './cuda-driver.ts';
import { check, type TorchLibrary } from './torch-library.ts';

/** So many pieces of work may be under way: more would hold more memory. */
const mostUnderWay = 6;

interface UnderWay {
  readonly event: CudaEvent;
  /** Handles of the tensors that it reads. */
  readonly held: readonly number[];
}

type SideDriver = Pick<
  CudaDriver,
  'stream' | 'createStream' | 'createEvent' | 'record' | 'waitFor' | 'computeOn'
>;

type SideLibrary = Pick<
  TorchLibrary,
  'newHandle' | 'deleteTensor' | 'allocateCells' | 'view' | 'lastError'
>;

export class SideStream {
  readonly #driver: SideDriver;
  readonly #library: SideLibrary;
  readonly #stream: CudaStream;
  readonly #begin: CudaEvent;
  readonly #events: CudaEvent[];
  readonly #cell: number;
  readonly #handle: BigUint64Array;
  #underWay: UnderWay[] = [];

  /** @throws where the driver makes no stream */
  constructor(library: SideLibrary, driver: SideDriver) {
    this.#library = library;
    this.#driver = driver;
    this.#stream = driver.createStream();
    this.#begin = driver.createEvent();
    this.#events = Array.from({ length: mostUnderWay }, () => driver.createEvent());
    this.#cell = library.allocateCells(1);
    this.#handle = new BigUint64Array(library.view(this.#cell, 8));
  }

  /**
   * Begins work behind all that was begun on either stream, beside what will be on the first one.
   * @param reads handles of what it reads; they stay the caller's
   */
  run(work: () => void, reads: readonly number[]): void {
    const driver = this.#driver;
    if (this.#underWay.length === mostUnderWay) this.#wait(1);
    const event = this.#events.shift()!;
    this.#events.push(event);
    this.#underWay.push({ event, held: reads.map((handle) => this.#second(handle)) });
    driver.record(this.#begin);
    driver.waitFor(this.#begin, this.#stream);
    driver.computeOn(this.#stream, work);
    driver.record(event, this.#stream);
  }

  /** The first stream goes on when all of this one is done. */
  join(): void {
    this.#wait(this.#underWay.length);
  }

  /** Forgets what failed: also a capture that broke ends only when all is joined, and what is let go is used again. */
  abandon(): void {
    if (this.#underWay.length > 0) {
      try {
        // Its own event may not have been recorded yet.
        this.#driver.record(this.#begin, this.#stream);
        this.#driver.waitFor(this.#begin, this.#driver.stream);
      } catch {
        // Of a broken capture there is nothing to wait for.
      }
    }
    for (const { held } of this.#underWay.splice(0)) this.#letGo(held);
  }

  /** For the first so many, which the last of them stands for. */
  #wait(count: number): void {
    const over = this.#underWay.splice(0, count);
    const last = over.at(-1);
    if (last) this.#driver.waitFor(last.event, this.#driver.stream);
    for (const { held } of over) this.#letGo(held);
  }

  #second(handle: number): number {
    check(this.#library, this.#library.newHandle(handle, this.#cell), 'a handle');
    return Number(this.#handle[0]);
  }

  #letGo(held: readonly number[]): void {
    for (const handle of held) this.#library.deleteTensor(handle);
  }
}
