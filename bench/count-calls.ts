/**
 * @file Counts what a training step asks of a GPU, without one: launches by operation, and the memory that
 * is held at once.
 *
 *     npx tsx bench/count-calls.ts --model sd1 --resolution 512 --batch 1 --rank 16
 */

import { parseArgs } from 'node:util';
import type { FamilyId } from '../src/models/model-family.ts';
import { traceStep } from './trace-step.ts';

const { values: options } = parseArgs({
  options: {
    /** sd1, sd2 or sdxl. */
    model: { type: 'string', default: 'sd1' },
    resolution: { type: 'string', default: '512' },
    batch: { type: 'string', default: '1' },
    rank: { type: 'string', default: '16' },
    checkpointing: { type: 'boolean', default: false },
    /** Without kernels of our own. */
    plain: { type: 'boolean', default: false },
    /** cuDNN's attention instead of flash. */
    cudnn: { type: 'boolean', default: false },
    /** Attention to captions in chunks of its queries. */
    chunks: { type: 'boolean', default: false },
  },
});

const { kernels, launches, calls, peakBytes, atPeak, movedBytes } = traceStep(
  options.model as FamilyId,
  {
    resolution: Number(options.resolution),
    batch: Number(options.batch),
    rank: Number(options.rank),
    checkpointing: options.checkpointing,
    plain: options.plain,
    attention: options.cudnn ? 'cudnn' : 'flash',
    chunks: options.chunks,
  },
);
const print = (line: string) => process.stdout.write(`${line}\n`);
const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
const sorted = (entries: ReadonlyMap<string, number>) => [...entries].sort(([, a], [, b]) => b - a);
for (const [name, count] of sorted(kernels)) print(`${String(count).padStart(6)} ${name}`);
print(
  `${launches} that compute or copy, of ${calls} calls; ${mebibytes(movedBytes)} MiB read and written`,
);
print('');
for (const [name, bytes] of sorted(atPeak)) print(`${mebibytes(bytes).padStart(9)} MiB ${name}`);
print(`${mebibytes(peakBytes)} MiB at once, without weights and variables`);
