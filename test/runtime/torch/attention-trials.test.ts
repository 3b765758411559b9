/** @file The choice among attention kernels, with those that the processor has. */

import { describe, expect, test } from 'vitest';
import { AttentionTrials, cudaKernels } from '../../../src/runtime/torch/attention-trials.ts';
import { DeviceMemory } from '../../../src/runtime/torch/device-memory.ts';
import { findLibtorch } from '../../../src/runtime/torch/find-libtorch.ts';
import type { AttentionKernel, AttentionSizes } from '../../../src/runtime/torch/rules/rule.ts';
import { loadTorchLibrary } from '../../../src/runtime/torch/torch-library.ts';
import { torchMissing } from '../../helpers/executors.ts';

const sizes = (queries: number, keys: number, channels: number): AttentionSizes => ({
  batch: 1,
  heads: 2,
  scale: 0.3,
  causal: false,
  queries,
  keys,
  channels,
});

test("kernels for the sizes of Stable Diffusion's attention", () => {
  const [flash, big, rest] = ['flash', 'cudnn', ['efficient', 'composed']] as const;
  expect(cudaKernels(sizes(4096, 4096, 40), 'bf16')).toEqual([flash, big, ...rest]);
  expect(cudaKernels(sizes(4096, 77, 40), 'f16')).toEqual([flash, big, ...rest]);
  expect(cudaKernels(sizes(1024, 1024, 160), 'bf16')).toEqual([flash, ...rest]);
  expect(cudaKernels(sizes(64, 77, 64), 'bf16')).toEqual([flash, ...rest]);
  expect(cudaKernels(sizes(4096, 4096, 512), 'bf16')).toEqual(rest);
  expect(cudaKernels(sizes(64, 64, 12), 'bf16')).toEqual(['composed']);
  expect(cudaKernels(sizes(64, 64, 12), 'f32')).toEqual(rest);
});

const suite = torchMissing === undefined ? 'trials' : `trials (skipped: ${torchMissing})`;

describe.skipIf(torchMissing !== undefined)(suite, () => {
  function trials(...kernels: AttentionKernel[]) {
    return trialsKnowing(new Map(), ...kernels);
  }

  function trialsKnowing(chosen: Map<string, AttentionKernel>, ...kernels: AttentionKernel[]) {
    const library = loadTorchLibrary(findLibtorch());
    const memory = new DeviceMemory(library, { kind: 'cpu', index: -1 });
    const asked: number[] = [];
    return {
      asked,
      trials: new AttentionTrials({
        library,
        memory,
        target: { channelsLast: true, normsTakeChannelsLast: true, addsProducts: false },
        kernels: ({ queries }) => {
          asked.push(queries);
          return kernels;
        },
        chosen,
      }),
    };
  }

  test('the first kernel that works is taken, and asked for once for each size', () => {
    // Those of NVIDIA GPUs do not work on the processor.
    const { trials: some, asked } = trials('flash', 'cudnn', 'cpu', 'efficient', 'composed');
    expect(some.choose(sizes(20, 20, 8), 'f32')).toBe('cpu');
    expect(some.choose(sizes(20, 20, 8), 'f32')).toBe('cpu');
    expect(some.choose(sizes(20, 7, 300), 'f32')).toBe('cpu');
    expect(asked).toEqual([20, 20]);
    expect(trials('cudnn', 'composed').trials.choose(sizes(20, 7, 8), 'f32')).toBe('composed');
  });

  test('what another executor has chosen is not tried again', () => {
    const chosen = new Map<string, AttentionKernel>();
    const [first, second] = [1, 2].map(() => trialsKnowing(chosen, 'cudnn', 'cpu', 'composed'));
    expect(first!.trials.choose(sizes(20, 20, 8), 'f32')).toBe('cpu');
    expect(second!.trials.choose(sizes(20, 20, 8), 'f32')).toBe('cpu');
    expect(second!.asked).toEqual([]);
  });

  test('where none works the reason is said', () => {
    expect(() => trials('flash', 'cudnn').trials.choose(sizes(20, 20, 8), 'f32')).toThrow(
      /internal: libtorch.*_scaled_dot_product_cudnn_attention/,
    );
  });
});
