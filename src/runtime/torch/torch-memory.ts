/** @file What is known of libtorch's memory before a graph is run. */

import { runPasses } from '../../graph/passes/run-passes.ts';
import { peakValueBytes } from '../../graph/peak-bytes.ts';
import { sizeOf } from '../../tensor/shape.ts';
import type { MemoryModel } from '../executor.ts';
import type { TorchDevice } from './device.ts';
import type { ComputeType } from './rules/rule.ts';

/**
 * Resident on the processor: Node with the program and libtorch, and per byte of weights and of values
 * what is not followed here. Fitted to the measured peaks of test/runtime/torch/torch-memory.test.ts.
 */
const programBytes = 325e6;
const perWeightByte = 1.04;
const perValueByte = 1.2;

/**
 * A context of CUDA with its kernels and work spaces. On an H200 with libtorch 2.11 a process has 632 MiB when it
 * begins, and in its steps 660 to 830 more than tensors take.
 */
const gpuContextBytes = 800e6;

/**
 * libtorch gives values back as soon as they are read no more. Values are counted in the type that is
 * computed with, but for losses and optimizers all of them are; what an operation needs inside is not
 * counted, so that this is a coarse figure.
 */
export function torchMemory(
  device: TorchDevice,
  compute: ComputeType,
  { fusedKernels = false }: { readonly fusedKernels?: boolean } = {},
): MemoryModel {
  return {
    program: device.kind === 'cpu' ? programBytes : gpuContextBytes,
    onGpu: device.kind !== 'cpu',
    joinsLayers: true,
    // As far as can be told before they are tried.
    recomputesFreely: fusedKernels && device.kind === 'cuda',
    copiesOfVariables: 1,
    sharesBuffers: true,
    keepsHalfWeights: false,
    ofGraph: (graph) => {
      const optimized = runPasses(graph);
      const parameters = new Map(
        optimized.nodes.flatMap((node) =>
          node.op === 'parameter' ? [[node.attrs.name, sizeOf(node.shape)] as const] : [],
        ),
      );
      const values = [...parameters.values()].reduce((sum, size) => sum + size, 0);
      const bytes = compute === 'f32' ? 4 : 2;
      return {
        weights: perWeightByte * values * bytes,
        buffers: (perValueByte * peakValueBytes(optimized) * bytes) / 4,
      };
    },
  };
}
