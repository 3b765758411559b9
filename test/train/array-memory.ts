/** @file ONNX Runtime's memory of arrays alone: in small models graphs' descriptions would outweigh them. */

import type { MemoryModel } from '../../src/runtime/executor.ts';
import { graphMemory } from '../../src/runtime/onnx/memory/graph-memory.ts';

export const arrayMemory: MemoryModel = {
  program: 1000,
  onGpu: false,
  copiesOfVariables: 2,
  sharesBuffers: false,
  keepsHalfWeights: true,
  ofGraph: (graph, { flipWeights, halfWeights }, source) =>
    graphMemory(graph, {
      flipWeights,
      ...(halfWeights && { halfTypeOf: (name: string) => source?.half?.(name)?.type }),
    }),
};
