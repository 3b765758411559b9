/** @file Copies that the host does not wait for, with events that happen when the test says so. */

import { describe, expect, test } from 'vitest';
import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import { DeviceMemory } from '../../../src/runtime/torch/device-memory.ts';
import { findLibtorch } from '../../../src/runtime/torch/find-libtorch.ts';
import { lowerGraph } from '../../../src/runtime/torch/lower-graph.ts';
import { unchunked } from '../../../src/runtime/torch/rules/rule.ts';
import { stagedLink } from '../../../src/runtime/torch/staged-link.ts';
import { loadTorchLibrary } from '../../../src/runtime/torch/torch-library.ts';
import { f32 } from '../../../src/tensor/tensor.ts';
import { torchMissing } from '../../helpers/executors.ts';

const suite = torchMissing === undefined ? 'staged link' : `staged link (skipped: ${torchMissing})`;

describe.skipIf(torchMissing !== undefined)(suite, () => {
  test('two runs may be under way; the third waits for the first, whose results stay', async () => {
    const library = loadTorchLibrary(findLibtorch());
    const memory = new DeviceMemory(library, { kind: 'cpu', index: -1 });
    const g = new GraphBuilder();
    const target = {
      compute: 'f32',
      attention: () => unchunked('cpu'),
      channelsLast: true,
    } as const;
    const lowered = lowerGraph(
      g.build({ y: g.exp(g.input('x', [2])) }),
      { ...target, normsTakeChannelsLast: true, addsProducts: false },
      library,
    );
    // Events happen all at once, when they are let.
    const waiting = new Set<number>();
    let events = 0;
    const link = stagedLink(
      memory,
      {
        createEvent: () => ++events,
        record: (event) => waiting.add(event),
        hasHappened: (event) => !waiting.has(event),
        destroyEvent: () => events--,
      },
      lowered,
      'host',
    );
    const [input] = [...link.inputs.values()];
    /** The graph here only shows its input. */
    const begin = async (values: number[]) => {
      await link.feed({ x: f32([2], values) });
      return link.fetch(() => input!);
    };
    const first = await begin([1, 2]);
    const second = await begin([3, 4]);
    let isThirdBegun = false;
    const third = begin([5, 6]).then((pending) => {
      isThirdBegun = true;
      return pending;
    });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(isThirdBegun).toBe(false);
    waiting.clear();
    const last = await third;
    expect(await second.read()).toEqual({ y: f32([2], [3, 4]) });
    waiting.clear();
    expect(await last.read()).toEqual({ y: f32([2], [5, 6]) });
    // Read after its place was used again.
    expect(await first.read()).toEqual({ y: f32([2], [1, 2]) });
    await expect(link.feed({ x: f32([1], [1]) })).rejects.toThrow('internal: input x is fed');
    const unread = await begin([7, 8]);
    waiting.clear();
    link.dispose();
    expect(await unread.read()).toEqual({ y: f32([2], [7, 8]) });
    expect(events).toBe(0);
  });

  test('memory that is not there is asked for without a word, and nothing is lost by it', () => {
    const memory = new DeviceMemory(loadTorchLibrary(findLibtorch()), { kind: 'cpu', index: -1 });
    memory.releaseCache();
    const handle = memory.upload([1, 2], [2], 'f32');
    expect([...memory.download(handle, [2], 'f32')]).toEqual([1, 2]);
  });
});
