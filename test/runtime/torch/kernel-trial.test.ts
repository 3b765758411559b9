/** @file The trial of our own kernels, run on the processor. */

import { describe, expect, test } from 'vitest';
import { OutOfMemoryError } from '../../../src/runtime/executor.ts';
import { DeviceMemory } from '../../../src/runtime/torch/device-memory.ts';
import { findLibtorch } from '../../../src/runtime/torch/find-libtorch.ts';
import { tryGraph } from '../../../src/runtime/torch/graph-trial.ts';
import {
  kernelTrialGraph,
  tryKernel,
  usefulKernels,
} from '../../../src/runtime/torch/kernel-trial.ts';
import type { KernelLauncher } from '../../../src/runtime/torch/kernels/kernel.ts';
import { type OwnKernel, ownKernels, unchunked } from '../../../src/runtime/torch/rules/rule.ts';
import { loadTorchLibrary } from '../../../src/runtime/torch/torch-library.ts';
import { torchMissing } from '../../helpers/executors.ts';
import { compilerMissing, hostLauncher } from '../../helpers/host-kernels.ts';

const missing = torchMissing ?? compilerMissing;
const suite = missing === undefined ? 'kernel trial' : `kernel trial (skipped: ${missing})`;
const size = { images: 2, side: 3, channels: 64 };
/** Vectors are worth a kernel when they are long. */
const sizes = { pointwise: { images: 2, side: 16, channels: 128 } };
const sizeOf = (kernel: OwnKernel) =>
  ({ ...sizes, layerNorm: size, groupNorm: size, geglu: size })[kernel];

describe.skipIf(missing !== undefined)(suite, () => {
  const place = (launcher: KernelLauncher) => {
    const library = loadTorchLibrary(findLibtorch());
    return {
      library,
      launcher,
      memory: new DeviceMemory(library, { kind: 'cpu', index: -1 }),
      target: {
        compute: 'f32' as const,
        attention: () => unchunked('cpu'),
        channelsLast: true,
        normsTakeChannelsLast: false,
        addsProducts: false,
      },
    };
  };

  test.each([...ownKernels])('%s takes part in its trial, and agrees', (kernel) => {
    const launcher = hostLauncher();
    const trial = tryKernel(place(launcher), kernel, sizeOf(kernel));
    expect(trial.agrees).toBe(true);
    expect(launcher.entries).toContain(kernel);
    if (kernel !== 'pointwise') expect(launcher.entries).toContain(`${kernel}Grad`);
  });

  const unused: KernelLauncher = { prepare: () => () => undefined };
  // A convolution of 1280 channels adds up most.
  test.each([
    ...[...ownKernels].map((kernel) => [kernel, { images: 8, side: 64, channels: 64 }] as const),
    ['groupNorm', { images: 1, side: 8, channels: 1280 }] as const,
  ])('%s is tried on values of which none leaves the range of f16: %j', (kernel, trialSize) => {
    const { target, ...rest } = place(unused);
    const graph = kernelTrialGraph(kernel, trialSize);
    const { results } = tryGraph({ ...rest, target: { ...target, compute: 'f16' } }, graph);
    for (const values of results) expect(Array.from(values).every(Number.isFinite)).toBe(true);
  });

  test('where there is no room for all images, fewer are tried', () => {
    const launcher = hostLauncher();
    const tried: number[] = [];
    const full: KernelLauncher = {
      prepare: (launch, parameters) => {
        const begin = launcher.prepare(launch, parameters);
        return () => {
          tried.push(launch.grid[0]);
          if (launch.grid[0] > 3) throw new OutOfMemoryError('none left');
          begin();
        };
      },
    };
    const reasons: string[] = [];
    usefulKernels(place(full), (...reason) => reasons.push(reason.join(': ')), {
      ...size,
      images: 16,
    });
    expect(reasons).toEqual([]);
    expect(Math.max(...tried)).toBeGreaterThan(3);
    expect(Math.min(...tried)).toBeLessThanOrEqual(3);
  });

  test('one that gives something else is refused, and one that cannot be compiled', () => {
    const launcher = hostLauncher();
    const broken: KernelLauncher = {
      prepare: (launch, parameters) => {
        if (launch.kernel.entry.startsWith('geglu')) throw new Error('no compiler');
        // Whose results are whatever was there.
        if (launch.kernel.entry.startsWith('layerNorm')) return () => undefined;
        return launcher.prepare(launch, parameters);
      },
    };
    const reasons: string[] = [];
    const useful = usefulKernels(
      place(broken),
      (...reason) => reasons.push(reason.join(': ')),
      size,
    );
    expect(useful.has('geglu') || useful.has('layerNorm')).toBe(false);
    expect(reasons).toEqual(['geglu: no compiler', 'layerNorm: ours gave something else']);
  });
});
