/** @file The memory of a graph in ONNX Runtime on the processor, found by going through its run without computing. */

import type { Graph } from '../../../graph/ops.ts';
import { runPasses } from '../../../graph/passes/run-passes.ts';
import { type Shape, sizeOf } from '../../../tensor/shape.ts';
import type { GraphMemory } from '../../executor.ts';
import { type LoweringOptions, lowerGraph } from '../lower-graph.ts';
import type { OnnxNode, OnnxType } from '../onnx-proto.ts';
import { Arena } from './arena.ts';
import { planBuffers } from './buffer-plan.ts';
import { executionOrder } from './execution-order.ts';
import { inferShapes } from './infer-shapes.ts';

/** Of f32 and i32; there are few 64-bit values, all of them small. */
const bytesPerElement = 4;
const bytesPerHalf = 2;

const isHalf = (type: OnnxType) => type === 'f16' || type === 'i16';

/** Elements that an operation takes from the arena while it runs, in one buffer each. */
function workspaces({ opType, domain, inputs, outputs }: OnnxNode, shapes: Map<string, Shape>) {
  const shape = (name: string | undefined) => shapes.get(name!)!;
  if (opType === 'ConvTranspose') {
    // The columns of one sample, before they are added up.
    const [x, w] = [shape(inputs[0]), shape(inputs[1])];
    return [sizeOf(w.slice(1)) * sizeOf(x.slice(2))];
  }
  if (opType === 'Conv' && domain === '') {
    // The columns of a sample are made as a whole where there are more filters than positions.
    const [w, out] = [shape(inputs[1]), shape(outputs[0])];
    const positions = sizeOf(out.slice(2));
    return w[0]! > positions && sizeOf(w.slice(2)) > 1 ? [sizeOf(w.slice(1)) * positions] : [];
  }
  // Queries, keys and values with their heads apart.
  if (opType === 'MultiHeadAttention') return inputs.map((name) => sizeOf(shape(name)));
  return [];
}

/** Bytes of arrays, and what else a graph takes memory by. */
interface CountedMemory extends GraphMemory {
  /** Of ONNX. */
  readonly nodes: number;
}

/** Goes through a run, and counts what is written. */
export function graphMemory(graph: Graph, options: LoweringOptions): CountedMemory {
  const { model, inputs } = lowerGraph(runPasses(graph), options);
  const shapes = inferShapes(model);
  const order = executionOrder(model.nodes);
  const { ownerOf, freedAfter } = planBuffers(model, order, shapes);
  const arena = new Arena();
  const buffers = new Map<string, ReturnType<Arena['allocate']>>();
  const halves = new Set(
    model.nodes.filter(({ opType }) => opType === 'BitCast').map(({ outputs }) => outputs[0]!),
  );
  const bytesOf = (name: string) =>
    (halves.has(name) ? bytesPerHalf : bytesPerElement) * sizeOf(shapes.get(name)!);
  for (const [place, node] of order.entries()) {
    for (const name of node.outputs) {
      if (ownerOf.get(name) === name) buffers.set(name, arena.allocate(bytesOf(name)));
    }
    const taken = workspaces(node, shapes).map((size) => arena.allocate(bytesPerElement * size));
    for (const buffer of taken) arena.free(buffer);
    for (const name of freedAfter[place]!) arena.free(buffers.get(name)!);
  }
  const weights = inputs.reduce(
    (sum, { source, shape, type }) =>
      source === 'parameter'
        ? sum + (isHalf(type) ? bytesPerHalf : bytesPerElement) * sizeOf(shape)
        : sum,
    0,
  );
  return { weights, buffers: arena.resident, nodes: order.length };
}
