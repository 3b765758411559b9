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
import { sd1 } from '../src/models/sd1/family.ts';
import { sd1TensorShapes } from '../src/models/sd1/tensor-shapes.ts';
import { lowerGraph } from '../src/runtime/torch/lower-graph.ts';
import { gradientGraph } from '../src/train/lora-step.ts';
import { sd15Sizes } from './sd15-sizes.ts';

const { values: options } = parseArgs({
  options: {
    resolution: { type: 'string', default: '512' },
    batch: { type: 'string', default: '1' },
    rank: { type: 'string', default: '16' },
    checkpointing: { type: 'boolean', default: false },
  },
});
const [resolution, batch, rank] = [options.resolution, options.batch, options.rank].map(Number);
const shapes = sd1TensorShapes(sd15Sizes);
const model = { family: sd1, shapes, predictionType: 'epsilon', joinsLayers: true } as const;
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
    attention: 'cuda',
    channelsLast: true,
    normsTakeChannelsLast: false,
    addsProducts: true,
  },
  {
    dtypeCodes: { f32: 6, bf16: 15, f16: 5, i32: 3, i64: 4 },
    memoryFormats: { contiguous: 0, channelsLast: 2 },
  },
);
const counts = new Map<string, number>();
for (const call of lowered.calls) {
  const name = call.kind === 'dispatch' ? call.op : call.kind;
  counts.set(name, (counts.get(name) ?? 0) + 1);
}
const views = new Set(['reshape', 'permute', 'narrow', 'expand', 'transpose', 'alias']);
let kernels = 0;
for (const [name, count] of [...counts].sort(([, a], [, b]) => b - a)) {
  if (!views.has(name)) kernels += count;
  process.stdout.write(`${String(count).padStart(6)} ${name}\n`);
}
process.stdout.write(`${lowered.calls.length} calls, ${kernels} that compute\n`);
