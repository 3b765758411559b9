/** @file The memory that a run will need, from its largest bucket. */

import { freemem } from 'node:os';
import type { Config } from '../../config/resolve-config.ts';
import type { Size } from '../../data/buckets.ts';
import { sizeText } from '../../data/buckets.ts';
import { clipPositions } from '../../models/clip-tokenizer.ts';
import { vaeFactor } from '../../models/sizes.ts';
import { estimateMemory, type MemoryEstimate } from '../../train/memory-estimate.ts';
import { formatBytes } from '../format-units.ts';
import type { BaseReport } from './check-base.ts';

export interface MemoryReport {
  readonly estimate: MemoryEstimate;
  /** The largest bucket, which the estimate is for. */
  readonly bucket: Size;
}

/** Null where the base or the data set is unfit, so that nothing can be said. */
export function checkMemory(
  { model, layouts }: BaseReport,
  buckets: readonly Size[],
  chunks: number,
  { lora, train }: Config,
): MemoryReport | null {
  const bucket = buckets.toSorted((a, b) => b.width * b.height - a.width * a.height)[0];
  if (!model || !bucket || layouts.length === 0) return null;
  const { gradientCheckpointing, clipSkip, batchSize } = train;
  const factor = vaeFactor(model.sizes.vae);
  const estimate = estimateMemory(
    { ...model, predictionType: train.predictionType ?? 'epsilon' },
    layouts,
    {
      batch: batchSize,
      height: bucket.height / factor,
      width: bucket.width / factor,
      text: lora.textEncoder ? { chunks } : { tokens: 2 + chunks * (clipPositions - 2) },
    },
    {
      clipSkip: Math.min(clipSkip ?? 1, model.sizes.text.layers),
      gradientCheckpointing,
      flipWeights: !gradientCheckpointing,
    },
  );
  return { estimate, bucket };
}

/** Memory of this machine that no one uses, in bytes; a container's limit counts. */
function freeMemory(): number {
  // Node 20 has it from 20.13 on.
  const { availableMemory } = process as { availableMemory?: () => number };
  return availableMemory?.() ?? freemem();
}

/** Names and values for the page. */
export function memoryFacts(
  { estimate, bucket }: MemoryReport,
  batchSize: number,
): [string, string][] {
  const { weights, flippedKernels, adapter, activations, program, total } = estimate;
  const batch = batchSize > 1 ? `${batchSize} × ${sizeText(bucket)}` : sizeText(bucket);
  return [
    ['about', `${formatBytes(total)} at ${batch}; ${formatBytes(freeMemory())} are free`],
    [
      'of which',
      [
        `weights ${formatBytes(weights)}`,
        ...(flippedKernels > 0 ? [`flipped kernels ${formatBytes(flippedKernels)}`] : []),
        `activations ${formatBytes(activations)}`,
        `adapter and AdamW ${formatBytes(adapter)}`,
        `program ${formatBytes(program)}`,
      ].join(', '),
    ],
  ];
}

/** A warning where the memory that is free will not do, else null. */
export function memoryWarning({ estimate }: MemoryReport, { train }: Config): string | null {
  const free = freeMemory();
  if (estimate.total <= free) return null;
  const ways = [
    ...(train.gradientCheckpointing ? [] : ['set train.gradientCheckpointing: true']),
    ...(train.batchSize > 1 ? ['lower train.batchSize'] : []),
    'lower data.resolution',
  ];
  const last = ways.pop()!;
  const advice = ways.length > 0 ? `${ways.join(', ')} or ${last}` : last;
  return `training takes about ${formatBytes(estimate.total)}, ${formatBytes(free)} are free: ${advice}`;
}
