/** @file The memory of the executor on ONNX Runtime, before a graph is compiled. */

import type { MemoryModel } from '../../executor.ts';
import { perBufferByte, perDrawnByte, perWeightByte, programBytes } from './calibration.ts';
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
    ofGraph: (graph, { flipWeights }) => {
      const options = { flipWeights, convBlock: flipWeights ? convBlock : 1 };
      const { weights, buffers } = graphMemory(graph, options);
      const perByte = graph.updates.size > 0 ? perBufferByte : perDrawnByte;
      return { weights: perWeightByte * weights, buffers: perByte * buffers };
    },
  };
}
