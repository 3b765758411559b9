/**
 * @file Counts what a training step of SD 1.5 asks of a GPU, without one: the calls of libtorch by operation.
 * Each call that computes is one kernel at least; those that only show a tensor otherwise are none.
 *
 *     npx tsx bench/count-calls.ts --resolution 512 --batch 1 --rank 16
 */

import { parseArgs } from 'node:util';
import { runPasses } from '../src/graph/passes/run-passes.ts';
import { loraLayout } from '../src/lora/lora-layout.ts';
import { targetModules } from '../src/lora/target-modules.ts';
import { families } from '../src/models/families.ts';
import type { FamilyId } from '../src/models/model-family.ts';
import { modelTensorShapes } from '../src/models/tensor-shapes.ts';
import { cudaKernels } from '../src/runtime/torch/attention-trials.ts';
import { lowerGraph } from '../src/runtime/torch/lower-graph.ts';
import { gradientGraph } from '../src/train/lora-step.ts';
import { publishedSizes } from './published-sizes.ts';
import { traceCalls } from './trace-calls.ts';

const { values: options } = parseArgs({
  options: {
    /** sd1, sd2 or sdxl. */
    model: { type: 'string', default: 'sd1' },
    resolution: { type: 'string', default: '512' },
    batch: { type: 'string', default: '1' },
    rank: { type: 'string', default: '16' },
    checkpointing: { type: 'boolean', default: false },
  },
});
const [resolution, batch, rank] = [options.resolution, options.batch, options.rank].map(Number);
const family = options.model as FamilyId;
const shapes = modelTensorShapes(publishedSizes[family]);
const model = {
  family: families[family],
  shapes,
  predictionType: 'epsilon',
  joinsLayers: true,
} as const;
const layout = loraLayout('unet', targetModules(model, { textEncoder: false }), { rank: rank! });
const side = resolution! / 8;
const graph = gradientGraph(
  model,
  [layout],
  { batch: batch!, height: side, width: side, text: { tokens: 77 } },
  { clipSkip: 1, gradientCheckpointing: options.checkpointing },
);
const lowered = lowerGraph(
  runPasses(graph),
  {
    compute: 'bf16',
    attention: (sizes) => cudaKernels(sizes, 'bf16')[0]!,
    channelsLast: true,
    normsTakeChannelsLast: false,
    addsProducts: true,
  },
  {
    dtypeCodes: { f32: 6, bf16: 15, f16: 5, i32: 3, i64: 4, bool: 11 },
    memoryFormats: { contiguous: 0, channelsLast: 2 },
  },
);
const { kernels, peakBytes, atPeak } = traceCalls(lowered);
const print = (line: string) => process.stdout.write(`${line}\n`);
const sorted = (entries: ReadonlyMap<string, number>) => [...entries].sort(([, a], [, b]) => b - a);
for (const [name, count] of sorted(kernels)) print(`${String(count).padStart(6)} ${name}`);
const total = [...kernels.values()].reduce((a, b) => a + b, 0);
print(`${total} that compute or copy, of ${lowered.calls.length} calls`);
print('');
for (const [name, bytes] of sorted(atPeak)) {
  print(`${(bytes / 2 ** 20).toFixed(1).padStart(9)} MiB ${name}`);
}
print(`${(peakBytes / 2 ** 20).toFixed(1)} MiB at once, without weights and variables`);
