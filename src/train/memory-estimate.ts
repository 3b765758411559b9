/** @file How much memory a run will take, before it is started. */

import type { LoraLayout } from '../lora/lora-layout.ts';
import type { MemoryModel, ParameterSource, WeightOptions } from '../runtime/executor.ts';
import { gradientGraph, type StepModel, type StepOptions, type StepShape } from './lora-step.ts';

const bytesPerFloat = 4;

/** Factors, their gradient, and AdamW's two moments. */
const valuesPerFactor = 4;

/** Bytes by what they are for. */
export interface MemoryEstimate {
  /** Frozen weights of the networks that are trained through, in all layouts that are kept. */
  readonly weights: number;
  /** The adapter, its gradient and AdamW's moments. */
  readonly adapter: number;
  /** Activations and gradients of steps, as the engine keeps their buffers. */
  readonly activations: number;
  /** The program itself and the engine. */
  readonly program: number;
  readonly total: number;
}

export interface MemoryOptions extends StepOptions, WeightOptions {
  /** Each shape keeps its graph with its buffers; else only one is there at a time. */
  readonly keepsGraphs: boolean;
}

const sizeOfShape = ({ batch, height, width }: StepShape) => batch * height * width;

/**
 * The memory of training at all of these shapes. Each has a graph of its own, which keeps its buffers;
 * the largest is gone through, and the others are taken to need as much for each latent pixel.
 *
 * @param shapes one or more
 * @param source of the weights, to know what they are stored in; f32 unless given
 */
export function estimateMemory(
  model: StepModel,
  layouts: readonly LoraLayout[],
  shapes: readonly StepShape[],
  { flipWeights, halfWeights, keepsGraphs, ...options }: MemoryOptions,
  memory: MemoryModel,
  source?: Pick<ParameterSource, 'half'>,
): MemoryEstimate {
  const largest = shapes.reduce((a, b) => (sizeOfShape(b) > sizeOfShape(a) ? b : a));
  const graph = gradientGraph(model, layouts, largest, options);
  const found = memory.ofGraph(graph, { flipWeights, halfWeights }, source);
  const share =
    memory.sharesBuffers || !keepsGraphs
      ? 1
      : shapes.reduce((sum, shape) => sum + sizeOfShape(shape), 0) / sizeOfShape(largest);
  const activations = Math.round(found.buffers * share);
  const factors = layouts.reduce((sum, { size }) => sum + size, 0);
  const adapter = valuesPerFactor * memory.copiesOfVariables * factors * bytesPerFloat;
  const { weights } = found;
  const { program } = memory;
  return {
    weights,
    adapter,
    activations,
    program,
    total: weights + adapter + activations + program,
  };
}
