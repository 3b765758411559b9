/** @file The memory plan of a configuration: with the budget that it states, or as it is. */

import type { Config } from '../config/resolve-config.ts';
import type { PlanSample } from '../data/batch-plan.ts';
import type { LoraLayout } from '../lora/lora-layout.ts';
import type { Checkpoint } from '../models/checkpoint.ts';
import type { ClipTokenizer } from '../models/clip-tokenizer.ts';
import type { MemoryModel } from '../runtime/executor.ts';
import { bytesText, memoryBudget } from './memory-budget.ts';
import { type MemoryPlan, type PlanRequest, planAsConfigured, planMemory } from './memory-plan.ts';
import type { PreviewShapes } from './preview-memory.ts';
import { stepShapes } from './step-shapes.ts';

export interface RunMemory {
  readonly checkpoint: Checkpoint;
  readonly layouts: readonly LoraLayout[];
  readonly samples: readonly PlanSample[];
  /** How many parts of 75 tokens captions have: each number that occurs. */
  readonly chunks: readonly number[];
  readonly memory: MemoryModel;
  /** Counts the tokens of prompts. */
  readonly tokenizer: ClipTokenizer;
}

/** The previews of a run; a prompt is as long as its negative one. */
function previewShapes({ preview, train }: Config, tokenizer: ClipTokenizer): PreviewShapes | null {
  const { enabled, prompts, width, height, everySteps } = preview;
  if (!enabled || prompts.length === 0) return null;
  const options = { maxTokens: train.maxTokens, emphasis: true };
  const chunks = prompts.map(({ prompt, negativePrompt }) =>
    Math.max(...[prompt, negativePrompt].map((text) => tokenizer.chunk(text, options).chunks)),
  );
  return { width, height, chunks: [...new Set(chunks)], amidSteps: everySteps !== null };
}

function requestOf(config: Config, run: RunMemory): PlanRequest {
  const { lora, data, train } = config;
  const { checkpoint, layouts, samples, chunks, memory, tokenizer } = run;
  const { batchSize, gradientCheckpointing, clipSkip } = train;
  const { family, shapes, heads, sizes } = checkpoint;
  const { joinsLayers, recomputesFreely } = memory;
  return {
    // What is predicted makes no difference here.
    model: { family, shapes, heads, predictionType: 'epsilon', joinsLayers, recomputesFreely },
    layouts,
    shapesOf: (microBatch) =>
      stepShapes(samples, { batchSize, microBatch, chunks, trainsText: lora.textEncoder }),
    batchSize,
    gradientCheckpointing,
    emphasis: data.emphasis,
    clipSkip: family.fixedClipSkip ?? Math.min(clipSkip ?? 1, sizes.text.layers),
    memory,
    weights: checkpoint,
    previews: previewShapes(config, tokenizer),
  };
}

/** The way that is configured, without regard to a limit. */
export function configuredMemory(config: Config, run: RunMemory): MemoryPlan {
  return planAsConfigured(requestOf(config, run));
}

/**
 * The way that fits `device.memory`; null where it states nothing.
 * @throws UserError with the figures where nothing fits
 */
export function limitedMemory(config: Config, run: RunMemory): MemoryPlan | null {
  const { memory } = config.device;
  if (memory === null) return null;
  const { bytes, text } = memoryBudget(memory, run.memory.onGpu);
  return planMemory(requestOf(config, run), bytes, text);
}

/** `6.2 GB of 8.0 GB, with gradient checkpointing, batches in parts of 2` */
export function planText(plan: MemoryPlan, { train }: Pick<Config, 'train'>): string {
  const { estimate, budget, gradientCheckpointing, microBatch, halfWeights, keepsGraphs } = plan;
  return [
    `about ${bytesText(estimate.total)}${budget === null ? '' : ` of ${bytesText(budget)}`}`,
    `${gradientCheckpointing ? 'with' : 'without'} gradient checkpointing`,
    ...(microBatch < train.batchSize
      ? [`batches of ${train.batchSize} in parts of ${microBatch}`]
      : []),
    ...(halfWeights ? ['weights in 16 bits'] : []),
    ...(keepsGraphs ? [] : ['graphs compiled anew at each change of the shape']),
  ].join(', ');
}
