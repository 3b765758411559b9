/** @file The choice among attention kernels, with those that the processor has. */

import { describe, expect, test } from 'vitest';
import {
  type AttentionFindings,
  AttentionTrials,
  cudaChoices,
} from '../../../src/runtime/torch/attention-trials.ts';
import { DeviceMemory } from '../../../src/runtime/torch/device-memory.ts';
import { findLibtorch } from '../../../src/runtime/torch/find-libtorch.ts';
import {
  type AttentionChoice,
  type AttentionSizes,
  unchunked,
} from '../../../src/runtime/torch/rules/rule.ts';
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
  const kernels = (...args: Parameters<typeof cudaChoices>) => [
    ...new Set(cudaChoices(...args).map(({ kernel }) => kernel)),
  ];
  const [flash, big, rest] = ['flash', 'cudnn', ['efficient', 'composed']] as const;
  expect(kernels(sizes(4096, 4096, 40), 'bf16')).toEqual([flash, big, ...rest]);
  expect(kernels(sizes(4096, 77, 40), 'f16')).toEqual([flash, big, ...rest]);
  expect(kernels(sizes(256, 77, 64), 'f16')).toEqual([flash, big, ...rest]);
  expect(kernels(sizes(1024, 1024, 160), 'bf16')).toEqual([flash, ...rest]);
  expect(kernels(sizes(64, 77, 64), 'bf16')).toEqual([flash, ...rest]);
  expect(kernels(sizes(4096, 4096, 512), 'bf16')).toEqual(rest);
  expect(kernels(sizes(64, 64, 12), 'bf16')).toEqual(['composed']);
  expect(kernels(sizes(64, 64, 12), 'f32')).toEqual(rest);
});

describe('the numbers of chunks', () => {
  const counts = (changes: Partial<AttentionSizes>) =>
    cudaChoices({ ...sizes(4096, 77, 64), ...changes }, 'bf16')
      .filter(({ kernel, chunks }) => kernel === 'flash' && chunks > 1)
      .map(({ chunks }) => chunks);

  test.each([
    // SDXL at 1024 pixels, and in other batches and formats; SD 1.5 at 512.
    [{ heads: 20, queries: 1024 }, [16, 8, 4]],
    [{ heads: 10, queries: 4096 }, [32, 16, 8]],
    [{ heads: 10, queries: 4096, batch: 4 }, [8, 4, 2]],
    [{ heads: 20, queries: 988 }, [13, 4, 2]],
    [{ heads: 8, queries: 256, channels: 160 }, [4, 2]],
  ])('%o: %o', (changes, expected) => {
    expect(counts(changes)).toEqual(expected);
  });

  test.each([
    ['many keys', { keys: 4096 }],
    ['few queries', { queries: 64 }],
    ['a batch that is large enough', { batch: 64, heads: 10 }],
    ['queries that see only those before them', { causal: true }],
    ["the VAE's heads", { channels: 512 }],
    ['a prime number of queries', { queries: 257 }],
  ])('%s: none', (_, changes) => {
    expect(counts(changes)).toEqual([]);
  });
});

const suite = torchMissing === undefined ? 'trials' : `trials (skipped: ${torchMissing})`;

describe.skipIf(torchMissing !== undefined)(suite, () => {
  function trials(...choices: AttentionChoice[]) {
    return trialsKnowing({ chosen: new Map(), refused: new Set() }, ...choices);
  }

  function trialsKnowing(findings: AttentionFindings, ...choices: AttentionChoice[]) {
    const library = loadTorchLibrary(findLibtorch());
    const memory = new DeviceMemory(library, { kind: 'cpu', index: -1 });
    const asked: number[] = [];
    return {
      asked,
      trials: new AttentionTrials({
        library,
        memory,
        target: { channelsLast: true, normsTakeChannelsLast: true, addsProducts: false },
        choices: ({ queries }) => {
          asked.push(queries);
          return choices;
        },
        findings,
      }),
    };
  }

  const [flash, cudnn, cpu] = [unchunked('flash'), unchunked('cudnn'), unchunked('cpu')];
  const [efficient, composed] = [unchunked('efficient'), unchunked('composed')];

  test('the first kernel that works is taken, and asked for once for each size', () => {
    // Those of NVIDIA GPUs do not work on the processor.
    const { trials: some, asked } = trials(flash, cudnn, cpu, efficient, composed);
    expect(some.choose(sizes(20, 20, 8), 'f32')).toBe(cpu);
    expect(some.choose(sizes(20, 20, 8), 'f32')).toBe(cpu);
    expect(some.choose(sizes(20, 7, 300), 'f32')).toBe(cpu);
    expect(asked).toEqual([20, 20]);
    expect(trials(cudnn, composed).trials.choose(sizes(20, 7, 8), 'f32')).toBe(composed);
  });

  test('what another executor has chosen is not tried again', () => {
    const findings: AttentionFindings = { chosen: new Map(), refused: new Set() };
    const [first, second] = [1, 2].map(() => trialsKnowing(findings, cudnn, cpu, composed));
    expect(first!.trials.choose(sizes(20, 20, 8), 'f32')).toBe(cpu);
    expect(second!.trials.choose(sizes(20, 20, 8), 'f32')).toBe(cpu);
    expect(second!.asked).toEqual([]);
  });

  test('what a kernel refused it is not asked again, nor in chunks', () => {
    const findings: AttentionFindings = { chosen: new Map(), refused: new Set() };
    const inChunks = { kernel: 'cudnn', chunks: 4 } as const;
    const { trials: some } = trialsKnowing(findings, cudnn, inChunks, cpu);
    expect(some.choose(sizes(20, 7, 8), 'f32')).toBe(cpu);
    expect(findings.refused.size).toBe(1);
    // A batch of four that is asked of the same kernel is what a chunk of four would have been.
    const { trials: others } = trialsKnowing(findings, inChunks, cpu);
    expect(others.choose(sizes(20, 9, 8), 'f32')).toBe(cpu);
    const refused = [...findings.refused];
    const { trials: larger } = trialsKnowing(findings, cudnn, cpu);
    expect(larger.choose({ ...sizes(5, 9, 8), batch: 4 }, 'f32')).toBe(cpu);
    expect([...findings.refused]).toEqual(refused);
  });

  test('where none works the reason is said', () => {
    const { trials: some } = trials(flash, cudnn);
    const reason = /internal: libtorch.*_scaled_dot_product_cudnn_attention/;
    expect(() => some.choose(sizes(20, 20, 8), 'f32')).toThrow(reason);
    expect(() => some.choose(sizes(20, 20, 8), 'f32')).toThrow('internal: no kernel');
  });
});
