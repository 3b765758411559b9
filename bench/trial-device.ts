/** @file A GPU to try kernels on, from a benchmark's options. */

import { parseArgs } from 'node:util';
import { openCuda } from '../src/runtime/torch/cuda-support.ts';
import { DeviceMemory } from '../src/runtime/torch/device-memory.ts';
import type { TrialDevice } from '../src/runtime/torch/graph-trial.ts';
import type { ComputeType } from '../src/runtime/torch/rules/rule.ts';
import { chooseTorch } from '../src/runtime/torch/torch-executor.ts';

export const print = (line: string) => process.stdout.write(`${line}\n`);

/** What the command line says. */
export function trialOptions() {
  const { values } = parseArgs({
    options: {
      device: { type: 'string', default: 'cuda' },
      precision: { type: 'string', default: 'bf16' },
      /** A file for the figures. */
      json: { type: 'string' },
    },
  });
  return { ...values, compute: values.precision as ComputeType };
}

/** With captured graphs, and with kernels of our own where they can be had. */
export function openTrialDevice(name: string, compute: ComputeType): TrialDevice {
  const { library, device } = chooseTorch({ device: name, compute });
  const note = (text: string) => print(`note: ${text}`);
  const cuda = openCuda({ library, device, compute, cudaGraphs: true, fusedKernels: true, note });
  const { launcher, graphs } = cuda ?? {};
  return { library, memory: new DeviceMemory(library, device), launcher, graphs };
}
