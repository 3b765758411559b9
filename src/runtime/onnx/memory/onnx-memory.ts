/** @file The memory of the executor on ONNX Runtime, before a graph is compiled. */

import type { MemoryModel } from '../../executor.ts';
import {
  bytesPerNode,
  perBufferByte,
  perDrawnByte,
  perWeightByte,
  programBytes,
} from './calibration.ts';
import { graphMemory } from './graph-memory.ts';

/**
 * @param convBlock channels of a block of blocked convolutions, as `findConvBlock` finds them; they
 * change which layouts of kernels are held, and hardly how much
 */
export function onnxMemory(convBlock = 16): MemoryModel {
  return {
    program: programBytes,
    onGpu: false,
    // The next value of a variable is written beside the current one.
    copiesOfVariables: 2,
    sharesBuffers: false,
    keepsHalfWeights: true,
    ofGraph: (graph, { flipWeights, halfWeights }, source) => {
      const options = {
        flipWeights,
        convBlock: flipWeights ? convBlock : 1,
        ...(halfWeights && { halfTypeOf: (name: string) => source?.half?.(name)?.type }),
      };
      const { weights, buffers, nodes } = graphMemory(graph, options);
      const perByte = graph.updates.size > 0 ? perBufferByte : perDrawnByte;
      return {
        weights: perWeightByte * weights,
        buffers: perByte * buffers + bytesPerNode * nodes,
      };
    },
  };
}
