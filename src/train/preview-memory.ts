/** @file How much memory previews take, beside the steps that they are drawn between. */

import type { LoraLayout } from '../lora/lora-layout.ts';
import { clipPositions } from '../models/clip-tokenizer.ts';
import type { MemoryModel, ParameterSource, WeightOptions } from '../runtime/executor.ts';
import type { StepModel } from './lora-step.ts';
import {
  type PreviewSize,
  previewDecoderGraph,
  previewTextGraph,
  previewUnetGraph,
} from './preview-graphs.ts';

/** The previews of a run. */
export interface PreviewShapes extends PreviewSize {
  /** How many parts of 75 tokens prompts have: each number that occurs. */
  readonly chunks: readonly number[];
  /** Whether some are drawn between steps, whose graphs are then there too. */
  readonly amidSteps: boolean;
}

/** In bytes. */
export interface PreviewMemory {
  /** Of the decoder, which stay. */
  readonly weights: number;
  /** While the largest part is drawn: latents and pictures are made one after the other. */
  readonly buffers: number;
  /** As in `PreviewShapes`. */
  readonly amidSteps: boolean;
}

/**
 * The memory of the graphs that `PreviewSampler` compiles.
 * @param source of the weights, to know what they are stored in; f32 unless given
 */
export function previewMemory(
  model: StepModel,
  layouts: readonly LoraLayout[],
  { chunks, amidSteps, ...size }: PreviewShapes,
  { clipSkip, ...held }: { readonly clipSkip: number } & WeightOptions,
  memory: MemoryModel,
  source?: Pick<ParameterSource, 'half'>,
): PreviewMemory {
  const drawn = { model, layouts, ...size };
  const trainsText = layouts.some(({ group }) => group === 'text_encoder');
  const sampling = chunks.flatMap((n) => [
    previewUnetGraph(drawn, 2 + n * (clipPositions - 2)),
    ...(trainsText ? [previewTextGraph(drawn, { chunks: n, clipSkip, emphasis: false })] : []),
  ]);
  const buffersOf = sampling.map((graph) => memory.ofGraph(graph, held, source).buffers);
  const sampled = memory.sharesBuffers
    ? Math.max(...buffersOf)
    : buffersOf.reduce((sum, bytes) => sum + bytes, 0);
  const decoder = memory.ofGraph(previewDecoderGraph(drawn), held, source);
  return { weights: decoder.weights, buffers: Math.max(sampled, decoder.buffers), amidSteps };
}
