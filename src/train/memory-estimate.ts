/** @file How much memory a run will take, before it is started. */

import type { LoraLayout } from '../lora/lora-layout.ts';
import type { MemoryModel, ParameterSource, WeightOptions } from '../runtime/executor.ts';
import { gradientGraph, type StepModel, type StepOptions, type StepShape } from './lora-step.ts';
import type { PreviewMemory } from './preview-memory.ts';

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
  /** What previews need beside all of that; 0 without previews. */
  readonly previews: number;
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
 * @param drawn of the run's previews; null without
 */
export function estimateMemory(
  model: StepModel,
  layouts: readonly LoraLayout[],
  shapes: readonly StepShape[],
  { flipWeights, halfWeights, keepsGraphs, ...options }: MemoryOptions,
  memory: MemoryModel,
  source?: Pick<ParameterSource, 'half'>,
  drawn: PreviewMemory | null = null,
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
  // Buffers of steps are given back before previews, but for graphs that are kept for the next step.
  const isBeside = drawn?.amidSteps && keepsGraphs && !memory.sharesBuffers;
  const beside = drawn && Math.max(0, drawn.buffers - (isBeside ? 0 : activations));
  const previews = drawn === null ? 0 : Math.round(drawn.weights + beside!);
  return {
    weights,
    adapter,
    activations,
    previews,
    program,
    total: weights + adapter + activations + previews + program,
  };
}
