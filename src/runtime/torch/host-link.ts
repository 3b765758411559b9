/** @file How values come from the host to a graph's inputs, and its results to the host. */

import { type Shape, sizeOf } from '../../tensor/shape.ts';
import { f32, i32, type Tensor } from '../../tensor/tensor.ts';
import type { PendingRun, Values } from '../executor.ts';
import type { DeviceMemory, HostTensor } from './device-memory.ts';
import type { LeafValue, LoweredGraph, ResultValue } from './lower-graph.ts';

/** Copies between the host and one graph. */
export interface HostLink {
  /** The tensors that inputs are read from, by value; the same at each run. */
  readonly inputs: ReadonlyMap<number, number>;
  /** Begins to fill the inputs; the feeds may change when it returns. */
  feed(feeds: Values): Promise<void>;
  /** Begins to copy the results, by value, of the run that was begun last. */
  fetch(handleOf: (id: number) => number): PendingRun;
  dispose(): void;
}

export type HostType = 'f32' | 'i32';
export const hostType = ({ value }: LeafValue | ResultValue): HostType =>
  value.dtype === 'i32' ? 'i32' : 'f32';

/** Copies a feed to the host's memory of an input. */
export function writeFeed({ name, shape, value }: LeafValue, feeds: Values, to: HostTensor): void {
  const feed = feeds[name];
  if (!feed || feed.dtype !== value.dtype || feed.data.length !== sizeOf(shape)) {
    const found = feed ? `${feed.dtype}[${feed.shape}]` : 'nothing';
    throw new Error(`internal: input ${name} is fed ${found}, expected ${value.dtype}[${shape}]`);
  }
  (to.values as Float32Array).set(feed.data as Float32Array);
}

export const asTensor = (shape: Shape, data: Float32Array | Int32Array): Tensor =>
  data instanceof Int32Array ? i32(shape, data) : f32(shape, data);

/** Copies that the host waits for; on the processor, inputs are the host's own memory. */
export function directLink(
  memory: DeviceMemory,
  { leaves, outputs }: LoweredGraph,
  isProcessor: boolean,
): HostLink {
  const made: number[] = [];
  const own = <T extends number | HostTensor>(one: T): T => {
    made.push(typeof one === 'number' ? one : one.handle);
    return one;
  };
  const free = () => {
    for (const handle of made) memory.free(handle);
  };
  const makeInput = (leaf: LeafValue) => {
    const host = own(memory.allocateHost(leaf.shape, hostType(leaf), 'host'));
    const handle = isProcessor ? host.handle : own(memory.allocate(leaf.shape, hostType(leaf)));
    return { leaf, host, handle };
  };
  let inputs: readonly ReturnType<typeof makeInput>[];
  try {
    inputs = leaves.filter(({ source }) => source === 'input').map(makeInput);
  } catch (error) {
    free();
    throw error;
  }
  return {
    inputs: new Map(inputs.map(({ leaf, handle }) => [leaf.value.id, handle])),
    feed: async (feeds) => {
      for (const { leaf, host, handle } of inputs) {
        writeFeed(leaf, feeds, host);
        if (handle !== host.handle) memory.copy(host.handle, handle);
      }
    },
    fetch: (handleOf) => {
      const read = outputs.map((result): [string, Tensor] => {
        const { name, shape, value } = result;
        const data = memory.download(handleOf(value.id), shape, hostType(result));
        return [name, asTensor(shape, data)];
      });
      return { isOver: true, read: async () => Object.fromEntries(read) };
    },
    dispose: free,
  };
}
