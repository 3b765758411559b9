/**
 * @file Copies between the host and a GPU that the host does not wait for: through pinned memory, in the
 * order of the stream. There are as many places for a run's values as runs may be under way.
 */

import type { Tensor } from '../../tensor/tensor.ts';
import type { PendingRun } from '../executor.ts';
import type { CudaDriver } from './cuda-driver.ts';
import type { DeviceMemory, HostTensor } from './device-memory.ts';
import { asTensor, type HostLink, hostType, writeFeed } from './host-link.ts';
import type { LoweredGraph } from './lower-graph.ts';

/** Runs of one graph under way: one computes while the next is prepared. */
const runsUnderWay = 2;

/** What tells when work on the stream is done. */
export type StreamEvents = Pick<
  CudaDriver,
  'createEvent' | 'record' | 'hasHappened' | 'destroyEvent'
>;

/** The host's memory of one run. */
interface Place {
  readonly inputs: readonly HostTensor[];
  readonly outputs: readonly HostTensor[];
  readonly event: number;
  /** Waits for the run that has the place, and takes its results out of it. */
  leave: () => Promise<void>;
  /** Takes the results of a run that is over. */
  take: () => void;
}

export function stagedLink(
  memory: DeviceMemory,
  events: StreamEvents,
  { leaves, outputs }: LoweredGraph,
  hostPlace: 'pinned' | 'host' = 'pinned',
): HostLink {
  const inputs = leaves.filter(({ source }) => source === 'input');
  const handles = inputs.map((leaf) => memory.allocate(leaf.shape, hostType(leaf)));
  const pinned = (values: readonly (typeof inputs)[number][] | typeof outputs) =>
    values.map((value) => memory.allocateHost(value.shape, hostType(value), hostPlace));
  const places = Array.from(
    { length: runsUnderWay },
    (): Place => ({
      inputs: pinned(inputs),
      outputs: pinned(outputs),
      event: events.createEvent(),
      leave: async () => undefined,
      take: () => undefined,
    }),
  );
  const happened = async (event: number): Promise<void> => {
    while (!events.hasHappened(event)) await new Promise((resolve) => setImmediate(resolve));
  };
  let next = 0;
  return {
    inputs: new Map(inputs.map(({ value }, i) => [value.id, handles[i]!])),
    feed: async (feeds) => {
      const place = places[next]!;
      await place.leave();
      for (const [i, leaf] of inputs.entries()) {
        writeFeed(leaf, feeds, place.inputs[i]!);
        memory.copy(place.inputs[i]!.handle, handles[i]!, { wait: false });
      }
      events.record(place.event);
      // Until there are results, the place is its inputs' copies'.
      place.leave = () => happened(place.event);
    },
    fetch: (handleOf) => {
      const place = places[next]!;
      next = (next + 1) % runsUnderWay;
      for (const [i, { value }] of outputs.entries()) {
        memory.copy(handleOf(value.id), place.outputs[i]!.handle, { wait: false });
      }
      events.record(place.event);
      return pendingOn(place);
    },
    dispose: () => {
      for (const place of places) {
        place.take();
        for (const { handle } of [...place.inputs, ...place.outputs]) memory.free(handle);
        events.destroyEvent(place.event);
      }
      for (const handle of handles) memory.free(handle);
    },
  };

  function pendingOn(place: Place): PendingRun {
    let results: Record<string, Tensor> | undefined;
    const take = () => {
      results ??= Object.fromEntries(
        outputs.map(({ name, shape }, i) => {
          const data = place.outputs[i]!.values.slice() as Float32Array | Int32Array;
          return [name, asTensor(shape, data)];
        }),
      );
      return results;
    };
    const read = async () => {
      if (!results) await happened(place.event);
      return take();
    };
    place.take = take;
    place.leave = async () => {
      await read();
    };
    return { isOver: false, read };
  }
}
