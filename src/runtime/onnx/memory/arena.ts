/**
 * @file The arena that ONNX Runtime's CPU buffers come from (onnxruntime/core/framework/bfc_arena.cc):
 * the smallest free chunk that fits, split where much would be left; what is given back is merged with
 * its free neighbours and never returned to the system.
 */

/** Sizes are multiples of so many bytes. */
const granule = 256;
const firstRegion = 2 ** 20;
/** Regions double up to this size; a larger one is made only for a buffer that needs it. */
const largestDoubling = 2 ** 30;
/** More than this is never left unused at the end of a chunk. */
const mostWaste = 128 * 2 ** 20;
/** Of memory that the system makes resident at once. */
const page = 64 * 1024;

interface Chunk {
  readonly region: Region;
  offset: number;
  size: number;
  isFree: boolean;
  before: Chunk | undefined;
  after: Chunk | undefined;
}

interface Region {
  /** One for each page, 1 once it has been written. */
  readonly touched: Uint8Array;
}

/** A buffer of an arena. */
export type ArenaBuffer = Chunk;

export class Arena {
  readonly #free = new Set<Chunk>();
  #nextRegion = firstRegion;
  /** Bytes that were ever written, which stay resident. */
  resident = 0;

  allocate(bytes: number): ArenaBuffer {
    const size = Math.max(granule, Math.ceil(bytes / granule) * granule);
    const chunk = this.#find(size) ?? this.#extend(size);
    this.#free.delete(chunk);
    chunk.isFree = false;
    const rest = chunk.size - size;
    if (chunk.size >= 2 * size || rest >= mostWaste) {
      const { region, after } = chunk;
      const left: Chunk = {
        region,
        offset: chunk.offset + size,
        size: rest,
        isFree: true,
        before: chunk,
        after,
      };
      if (after) after.before = left;
      chunk.after = left;
      chunk.size = size;
      this.#free.add(left);
    }
    this.#touch(chunk, bytes);
    return chunk;
  }

  free(buffer: ArenaBuffer): void {
    buffer.isFree = true;
    let merged = buffer;
    const { before, after } = buffer;
    if (after?.isFree) this.#merge(buffer, after);
    if (before?.isFree) {
      this.#merge(before, buffer);
      merged = before;
    }
    this.#free.add(merged);
  }

  /** The smallest that fits: bins are ordered by size, and so are the chunks in them. */
  #find(size: number): Chunk | undefined {
    let best: Chunk | undefined;
    for (const chunk of this.#free) {
      if (chunk.size >= size && (!best || chunk.size < best.size)) best = chunk;
    }
    return best;
  }

  #extend(size: number): Chunk {
    let grown = false;
    while (size > this.#nextRegion) {
      this.#nextRegion *= 2;
      grown = true;
    }
    const bytes = this.#nextRegion;
    if (!grown) this.#nextRegion = Math.max(bytes, Math.min(2 * bytes, largestDoubling));
    const region = { touched: new Uint8Array(Math.ceil(bytes / page)) };
    return { region, offset: 0, size: bytes, isFree: true, before: undefined, after: undefined };
  }

  /** Makes `left` of both; `right` is no more. */
  #merge(left: Chunk, right: Chunk): void {
    this.#free.delete(left);
    this.#free.delete(right);
    left.size += right.size;
    left.after = right.after;
    if (right.after) right.after.before = left;
  }

  #touch({ region: { touched }, offset }: Chunk, bytes: number): void {
    if (bytes === 0) return;
    const last = Math.floor((offset + bytes - 1) / page);
    for (let i = Math.floor(offset / page); i <= last; i++) {
      this.resident += (1 - touched[i]!) * page;
      touched[i] = 1;
    }
  }
}
