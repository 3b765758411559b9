/** @file How a run is made to fit the memory that it may take: the fastest way of those that fit. */

import type { LoraLayout } from '../lora/lora-layout.ts';
import type { MemoryModel, ParameterSource, WeightOptions } from '../runtime/executor.ts';
import { UserError } from '../tensor/user-error.ts';
import type { StepModel, StepShape } from './lora-step.ts';
import { bytesText } from './memory-budget.ts';
import { estimateMemory, type MemoryEstimate } from './memory-estimate.ts';
import { type PreviewMemory, type PreviewShapes, previewMemory } from './preview-memory.ts';

/** How steps are taken; it changes rounding alone. */
export interface StepWay {
  readonly gradientCheckpointing: boolean;
  /** Most items that go through the network at once; a batch is cut into such parts. */
  readonly microBatch: number;
  /** Weights stay in the 16 bits that they are stored in until they are read. */
  readonly halfWeights: boolean;
  /** Each shape keeps its graph with its buffers; else only the last one is there, and others are compiled anew. */
  readonly keepsGraphs: boolean;
}

export interface MemoryPlan extends StepWay {
  readonly estimate: MemoryEstimate;
  /** Bytes that the run may take; null where it has no limit. */
  readonly budget: number | null;
}

export interface PlanRequest {
  readonly model: StepModel;
  readonly layouts: readonly LoraLayout[];
  /** Shapes of the run where at most so many items go through the network at once. */
  readonly shapesOf: (microBatch: number) => readonly StepShape[];
  readonly batchSize: number;
  /** Of the configuration: true stays true. */
  readonly gradientCheckpointing: boolean;
  readonly clipSkip: number;
  /** Whether captions weigh their words; false unless given. */
  readonly emphasis?: boolean;
  readonly memory: MemoryModel;
  /** To know what weights are stored in. */
  readonly weights: Pick<ParameterSource, 'half'>;
  /** The run's previews; none unless given. */
  readonly previews?: PreviewShapes | null;
}

/** Sizes of 1, 2, 3 … equal parts of a batch, the whole first, without those that are alike. */
function microBatches(batchSize: number): number[] {
  return [...new Set(Array.from({ length: batchSize }, (_, i) => Math.ceil(batchSize / (i + 1))))];
}

/** The memory of the previews, by how weights are held. */
type PreviewsOf = (held: WeightOptions) => PreviewMemory | null;

/** Finds out once for each, since ways are many. */
function previewsOf(request: PlanRequest): PreviewsOf {
  const { model, layouts, previews, clipSkip, memory, weights } = request;
  const known = new Map<string, PreviewMemory>();
  return (held) => {
    if (!previews) return null;
    const key = JSON.stringify(held);
    const found =
      known.get(key) ??
      previewMemory(model, layouts, previews, { clipSkip, ...held }, memory, weights);
    known.set(key, found);
    return found;
  };
}

/** The memory of one way. */
export function estimateWay(
  request: PlanRequest,
  way: StepWay,
  drawn: PreviewsOf = previewsOf(request),
): MemoryEstimate {
  const { model, layouts, shapesOf, clipSkip, emphasis = false, memory, weights } = request;
  const { gradientCheckpointing, microBatch, keepsGraphs, halfWeights } = way;
  // Whoever recomputes to save memory does not keep kernels twice.
  const held = { flipWeights: !gradientCheckpointing, halfWeights };
  const options = { clipSkip, emphasis, gradientCheckpointing, keepsGraphs, ...held };
  const shapes = shapesOf(microBatch);
  return estimateMemory(model, layouts, shapes, options, memory, weights, drawn(held));
}

/** Without regard to memory. */
export const wayAsConfigured = ({
  gradientCheckpointing,
  batchSize,
}: Pick<PlanRequest, 'gradientCheckpointing' | 'batchSize'>): StepWay => ({
  gradientCheckpointing,
  microBatch: batchSize,
  halfWeights: false,
  keepsGraphs: true,
});

/** The configured way, whether it fits or not. */
export function planAsConfigured(request: PlanRequest): MemoryPlan {
  const { gradientCheckpointing, batchSize } = request;
  const way = wayAsConfigured({ gradientCheckpointing, batchSize });
  return { ...way, estimate: estimateWay(request, way), budget: null };
}

/**
 * The fastest first: to compute the forward pass twice costs a third, to widen all weights three times
 * somewhat more, to compile a graph at each change of the shape up to as much again.
 */
function waysOf(request: PlanRequest) {
  const { gradientCheckpointing, batchSize, shapesOf, memory, model, weights, previews } = request;
  const hasHalf =
    memory.keepsHalfWeights && [...model.shapes.keys()].some((name) => weights.half?.(name));
  const graphs = shapesOf(1).length + (previews?.amidSteps ? 1 : 0);
  const isCompiledAnew = !memory.sharesBuffers && (batchSize > 1 || graphs > 1);
  return (isCompiledAnew ? [true, false] : [true]).flatMap((keepsGraphs) =>
    [
      ...(gradientCheckpointing ? [] : [{ gradientCheckpointing: false, halfWeights: false }]),
      { gradientCheckpointing: true, halfWeights: false },
      ...(hasHalf ? [{ gradientCheckpointing: true, halfWeights: true }] : []),
    ].map((way) => ({ ...way, keepsGraphs })),
  );
}

/**
 * Smaller parts cost little on the processor, where a pass takes as long as its items together.
 * @param sizes from the largest to the smallest
 */
function largestThatFits(
  sizes: readonly number[],
  tryOut: (microBatch: number) => MemoryPlan,
): MemoryPlan | undefined {
  const fits = ({ estimate, budget }: MemoryPlan) => estimate.total <= budget!;
  const whole = tryOut(sizes[0]!);
  if (fits(whole) || sizes.length === 1) return fits(whole) ? whole : undefined;
  let best = tryOut(sizes.at(-1)!);
  if (!fits(best)) return undefined;
  let [tooLarge, small] = [0, sizes.length - 1];
  while (small - tooLarge > 1) {
    const middle = (tooLarge + small) >> 1;
    const plan = tryOut(sizes[middle]!);
    if (fits(plan)) [small, best] = [middle, plan];
    else tooLarge = middle;
  }
  return best;
}

/**
 * The first way that fits.
 * @param budget in bytes
 * @param limit what the budget is, in words
 * @throws UserError with the figures of the smallest way where none fits
 */
export function planMemory(request: PlanRequest, budget: number, limit: string): MemoryPlan {
  const tried: MemoryPlan[] = [];
  const drawn = previewsOf(request);
  for (const way of waysOf(request)) {
    const tryOut = (microBatch: number): MemoryPlan => {
      const whole = { ...way, microBatch };
      const plan = { ...whole, estimate: estimateWay(request, whole, drawn), budget };
      tried.push(plan);
      return plan;
    };
    const found = largestThatFits(microBatches(request.batchSize), tryOut);
    if (found) return found;
  }
  const least = tried.reduce((a, b) => (b.estimate.total < a.estimate.total ? b : a));
  throw refusal(least, request, limit);
}

function refusal(
  { estimate, microBatch, gradientCheckpointing }: MemoryPlan,
  { layouts, shapesOf, previews: drawn }: PlanRequest,
  limit: string,
): UserError {
  const { weights, activations, previews, adapter, program, total } = estimate;
  const shapes = shapesOf(microBatch);
  const [largest] = shapes.toSorted((a, b) => b.height * b.width - a.height * a.width);
  const size = `${8 * largest!.width}×${8 * largest!.height}`;
  const how = `${gradientCheckpointing ? 'with' : 'without'} gradient checkpointing, ${microBatch} × ${size} at once`;
  const trainsText = layouts.some(({ group }) => group === 'text_encoder');
  const ways = [
    'lower data.resolution',
    ...(previews > 0
      ? [`set preview.width and preview.height below ${drawn!.width}×${drawn!.height}`]
      : []),
    ...(trainsText ? ['set lora.textEncoder: false'] : []),
    'give device.memory more',
  ];
  const last = ways.pop()!;
  return new UserError(
    `device.memory: ${limit}, and the least that this run can do with is about ${bytesText(total)}, ${how} ` +
      `(weights ${bytesText(weights)}, activations ${bytesText(activations)}, ${previews > 0 ? `previews ${bytesText(previews)}, ` : ''}adapter and AdamW ${bytesText(adapter)}, ` +
      `program ${bytesText(program)}): ${ways.join(', ')} or ${last}`,
  );
}
