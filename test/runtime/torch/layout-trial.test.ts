/** @file The trial of the two orders of images, on the processor. */

import { describe, expect, test } from 'vitest';
import { compareRuns } from '../../../src/runtime/torch/agreement.ts';
import { DeviceMemory } from '../../../src/runtime/torch/device-memory.ts';
import { findLibtorch } from '../../../src/runtime/torch/find-libtorch.ts';
import { tryGraph } from '../../../src/runtime/torch/graph-trial.ts';
import { prefersChannelsLast, trialGraph } from '../../../src/runtime/torch/layout-trial.ts';
import { unchunked } from '../../../src/runtime/torch/rules/rule.ts';
import { loadTorchLibrary } from '../../../src/runtime/torch/torch-library.ts';
import { torchMissing } from '../../helpers/executors.ts';

const suite =
  torchMissing === undefined ? 'layout trial' : `layout trial (skipped: ${torchMissing})`;

describe.skipIf(torchMissing !== undefined)(suite, () => {
  const place = () => {
    const library = loadTorchLibrary(findLibtorch());
    const attention = () => unchunked('cpu');
    return {
      library,
      memory: new DeviceMemory(library, { kind: 'cpu', index: -1 }),
      target: {
        compute: 'f32' as const,
        attention,
        normsTakeChannelsLast: false,
        addsProducts: false,
      },
    };
  };

  test('the blocks give the same in both orders', () => {
    const graph = trialGraph([[1, 64, 4]]);
    const [last, first] = [true, false].map((channelsLast) => {
      const { target, ...rest } = place();
      return tryGraph({ ...rest, target: { ...target, channelsLast } }, graph);
    });
    expect(last!.results[0]).toHaveLength(64);
    expect(compareRuns(first!.results, last!.results)).toBe('same');
    expect(last!.milliseconds).toBeGreaterThan(0);
  });

  test('where the blocks do not run, channels are innermost', () => {
    const { library, memory, target } = place();
    const broken = {
      ...library,
      operation: () => () => 1,
    };
    const tried = { library: broken, memory, target: { ...target, channelsLast: false } };
    expect(prefersChannelsLast(tried)).toBe(true);
  });
});
