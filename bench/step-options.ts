/** @file The options of bench/step.ts. */

import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';

const options = {
  /** What is timed; several, separated by commas, each get a process of their own. */
  case: { type: 'string', default: 'sd15-512-b1' },
  /** onnx, torch or reference. */
  executor: { type: 'string', default: 'onnx' },
  /** Of torch: auto, cpu, cuda, cuda:1; of onnx: its provider, such as webgpu. */
  device: { type: 'string', default: 'auto' },
  /** Of torch: f32, bf16 or f16; bf16 on a GPU and f32 on the processor unless given. */
  precision: { type: 'string' },
  /** Of torch on CUDA: call by call, without captured graphs. */
  'no-cuda-graphs': { type: 'boolean', default: false },
  /** Of captured graphs: all in one row, nothing beside it. */
  'no-side-stream': { type: 'boolean', default: false },
  /** Of torch on CUDA: norms and GEGLU by libtorch's kernels alone. */
  'no-fused-kernels': { type: 'boolean', default: false },
  /** Of torch: images and kernels row-major, to see what the other order gains. */
  'row-major': { type: 'boolean', default: false },
  /** Waits for each step before the next one is begun. */
  'in-step': { type: 'boolean', default: false },
  rank: { type: 'string', default: '16' },
  steps: { type: 'string', default: '5' },
  warmup: { type: 'string', default: '1' },
  /** Seed of weights, factors, latents and noise. */
  seed: { type: 'string', default: '0' },
  threads: { type: 'string', default: String(availableParallelism()) },
  /** A file to train on, such as one of make-random-checkpoint; random weights unless given. */
  checkpoint: { type: 'string' },
  /** Does not compile more graphs to tell forward, backward and transfers apart. */
  'no-phases': { type: 'boolean', default: false },
  /** Does not measure the device's matrix product, which the floor is made of. */
  'no-floor': { type: 'boolean', default: false },
  /** Builds the graph and counts its arithmetic; computes nothing. */
  'count-only': { type: 'boolean', default: false },
  /** Of onnx: does without the second copy of convolution kernels. */
  'no-flip': { type: 'boolean', default: false },
  /** Of onnx: threads sleep while they wait, so that processor seconds count work alone. */
  'no-spinning': { type: 'boolean', default: false },
  /** Of onnx: prefix of a file for ONNX Runtime's own timing. */
  profile: { type: 'string' },
  /** A file for host and device memory over the steps, which memory-picture.ts draws. */
  memory: { type: 'string' },
  /** Steps between two entries of it. */
  every: { type: 'string', default: '50' },
  /** A file for the figures; with several cases, a list of them. */
  json: { type: 'string' },
} as const;

export function stepOptions() {
  return parseArgs({ options }).values;
}

export type Options = ReturnType<typeof stepOptions>;
