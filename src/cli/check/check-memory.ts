/** @file The memory that a run will need, and how it is made to fit. */

import type { Config } from '../../config/resolve-config.ts';
import { type Size, sizeText } from '../../data/buckets.ts';
import type { ClipTokenizer } from '../../models/clip-tokenizer.ts';
import type { MemoryModel } from '../../runtime/executor.ts';
import { UserError } from '../../tensor/user-error.ts';
import { freeMemory } from '../../train/memory-budget.ts';
import type { MemoryEstimate } from '../../train/memory-estimate.ts';
import type { MemoryPlan } from '../../train/memory-plan.ts';
import {
  configuredMemory,
  limitedMemory,
  planText,
  type RunMemory,
} from '../../train/run-memory.ts';
import { memoryModel } from '../create-executor.ts';
import { formatBytes } from '../format-units.ts';
import type { BaseReport } from './check-base.ts';
import type { CaptionReport } from './check-captions.ts';

export interface MemoryReport {
  /** Names and values for the page. */
  readonly facts: readonly [string, string][];
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

const nothing: MemoryReport = { facts: [], problems: [], warnings: [] };

/** A bucket and how often an epoch visits it. */
interface BucketVisits {
  readonly bucket: Size;
  readonly visits: number;
}

/** What is said where nothing is known of the executor's memory. */
async function knownMemory(config: Config): Promise<MemoryModel | string> {
  try {
    return await memoryModel(config);
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
}

/** Says nothing where the base or the data set is unfit. */
export async function checkMemory(
  { model, layouts }: BaseReport,
  buckets: readonly BucketVisits[],
  { uses }: CaptionReport,
  tokenizer: ClipTokenizer,
  config: Config,
): Promise<MemoryReport> {
  if (!model || buckets.length === 0 || uses.length === 0 || layouts.length === 0) return nothing;
  if (config.device.executor === 'tfjs') {
    return { ...nothing, facts: [['memory', 'not known beforehand with TensorFlow.js']] };
  }
  const memory = await knownMemory(config);
  if (typeof memory === 'string') return { ...nothing, problems: [memory] };
  const samples = buckets.map(({ bucket, visits }) => ({ bucket, repeats: visits, prior: false }));
  const chunks = [...new Set(uses.map((use) => use.chunks))];
  const run: RunMemory = { checkpoint: model, layouts, samples, chunks, memory, tokenizer };
  let plan: MemoryPlan | null;
  try {
    plan = limitedMemory(config, run);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { ...nothing, problems: [error.message] };
  }
  const isLimited = plan !== null;
  plan ??= configuredMemory(config, run);
  const facts = factsOf(plan, buckets, config, memory);
  const warning = isLimited || memory.onGpu ? null : warningOf(plan.estimate, config);
  return { facts, problems: [], warnings: warning === null ? [] : [warning] };
}

function factsOf(
  plan: MemoryPlan,
  buckets: readonly BucketVisits[],
  config: Config,
  { onGpu }: MemoryModel,
): [string, string][] {
  const { weights, adapter, activations, previews, program, total } = plan.estimate;
  const { bucket } = buckets.reduce((a, b) => (areaOf(b.bucket) > areaOf(a.bucket) ? b : a));
  const { microBatch, budget } = plan;
  const batch = microBatch > 1 ? `${microBatch} × ${sizeText(bucket)}` : sizeText(bucket);
  const free = onGpu ? 'on the GPU' : `${formatBytes(freeMemory())} are free`;
  return [
    ['about', `${formatBytes(total)} at ${batch}; ${free}`],
    ...(budget === null ? [] : [['plan', planText(plan, config)] as [string, string]]),
    [
      'of which',
      [
        `weights ${formatBytes(weights)}`,
        `activations ${formatBytes(activations)}`,
        ...(previews > 0 ? [`previews ${formatBytes(previews)}`] : []),
        `adapter and AdamW ${formatBytes(adapter)}`,
        `program ${formatBytes(program)}`,
      ].join(', '),
    ],
  ];
}

const areaOf = ({ width, height }: Size) => width * height;

/** Where the memory that is free will not do. */
function warningOf({ total }: MemoryEstimate, { train }: Config): string | null {
  const free = freeMemory();
  if (total <= free) return null;
  const ways = [
    ...(train.gradientCheckpointing ? [] : ['set train.gradientCheckpointing: true']),
    ...(train.batchSize > 1 ? ['lower train.batchSize'] : []),
    'lower data.resolution',
    'set device.memory: auto, which does what is needed',
  ];
  const last = ways.pop()!;
  return `training takes about ${formatBytes(total)}, ${formatBytes(free)} are free: ${ways.join(', ')} or ${last}`;
}
