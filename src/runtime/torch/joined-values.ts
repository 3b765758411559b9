/** @file The memory of concatenations whose parts are written to their place, as far as they are. */

import type { Node } from '../../graph/ops.ts';
import type { JoinedBuffer, PlacedResults } from './find-placed-results.ts';
import {
  type Argument,
  type TorchEmitter,
  tensor,
  type Value,
  whole,
  wholes,
} from './torch-emitter.ts';
import type { TorchDType } from './torch-library.ts';

export class JoinedValues {
  readonly #emitter: TorchEmitter;
  readonly #placed: PlacedResults;
  /** With what was written so far. */
  readonly #buffers = new Map<JoinedBuffer, Value>();
  readonly #written = new Set<Node>();

  constructor(emitter: TorchEmitter, placed: PlacedResults) {
    this.#emitter = emitter;
    this.#placed = placed;
  }

  /** `LoweringContext.writeJoined`. */
  write(
    node: Node,
    op: string,
    overload: string,
    args: readonly Argument[],
    dtype: TorchDType,
  ): Value | undefined {
    const place = this.#placed.destinations.get(node);
    if (!place) return undefined;
    const { buffer, start, size } = place;
    const memory = this.#memoryOf(buffer, dtype);
    const part = this.#part(memory, buffer, start, size);
    const shape = [tensor(part), wholes(node.shape)];
    const isVector = buffer.shape.length === 1 && node.shape.length > 1;
    const out = isVector ? this.#emitter.emit('reshape', shape, { dtype: part.dtype }) : part;
    const written = this.#emitter.write(op, overload, args, out, memory);
    this.#buffers.set(buffer, written);
    this.#written.add(node);
    return written;
  }

  /** Whether a node is but a view of what lies in its place by now. */
  isPassed(node: Node): boolean {
    const writer = this.#placed.views.get(node);
    return writer !== undefined && this.#written.has(writer);
  }

  /**
   * A concatenation, with the parts copied to it that were not written there; undefined where none was.
   * @param elsewhere gives the value of such a part
   */
  finish(node: Node, elsewhere: (part: Node) => Value): Value | undefined {
    const joined = this.#placed.joined.get(node);
    if (!joined?.parts.some(({ writer }) => this.#written.has(writer))) return undefined;
    const { whole: buffer, pieces, parts } = joined;
    for (const piece of pieces) {
      const value = this.#buffers.get(piece);
      if (value) this.#copy(value, buffer, piece.start, piece.shape[0]!);
    }
    for (const { node: part, writer, start } of parts) {
      if (this.#written.has(writer)) continue;
      this.#copy(elsewhere(part), buffer, start, part.shape[buffer.axis]!);
    }
    return this.#buffers.get(buffer);
  }

  #memoryOf(buffer: JoinedBuffer, dtype: TorchDType): Value {
    return this.#buffers.get(buffer) ?? this.#emitter.allocate(buffer.shape, buffer.dtype ?? dtype);
  }

  #part(memory: Value, { axis }: JoinedBuffer, start: number, size: number): Value {
    const args = [tensor(memory), whole(axis), whole(start), whole(size)];
    return this.#emitter.emit('narrow', args, { dtype: memory.dtype });
  }

  #copy(from: Value, buffer: JoinedBuffer, start: number, size: number): void {
    const memory = this.#memoryOf(buffer, from.dtype);
    const out = this.#part(memory, buffer, start, size);
    this.#buffers.set(buffer, this.#emitter.place(from, out, memory));
  }
}
