/**
 * @file What attention may be computed by on an NVIDIA GPU, one beside the other, forward and backward: whether all give the
 * same, and how long each takes, at the sizes of SD 1.5 (512 pixels) and SDXL (1024).
 *
 *     npx tsx bench/attention.ts --device cuda --precision bf16 --json attention.json
 */

import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { compareRuns } from '../src/runtime/torch/agreement.ts';
import { attentionTrialGraph, cudaChoices } from '../src/runtime/torch/attention-trials.ts';
import { openCuda } from '../src/runtime/torch/cuda-support.ts';
import { DeviceMemory } from '../src/runtime/torch/device-memory.ts';
import { type GraphTrial, OpenTrial } from '../src/runtime/torch/graph-trial.ts';
import type { AttentionSizes } from '../src/runtime/torch/rules/rule.ts';
import { chooseTorch } from '../src/runtime/torch/torch-executor.ts';

const { values: options } = parseArgs({
  options: {
    device: { type: 'string', default: 'cuda' },
    precision: { type: 'string', default: 'bf16' },
    json: { type: 'string' },
  },
});

/** Batch, heads, queries, keys, channels of a head. */
const sizes = [
  [1, 20, 1024, 77, 64],
  [1, 10, 4096, 77, 64],
  [4, 20, 1024, 77, 64],
  [4, 10, 4096, 77, 64],
  [1, 20, 1024, 1024, 64],
  [1, 10, 4096, 4096, 64],
  [1, 8, 4096, 77, 40],
  [1, 8, 1024, 77, 80],
  [1, 8, 256, 77, 160],
  [8, 8, 4096, 77, 40],
  [8, 8, 1024, 77, 80],
] as const;

const print = (line: string) => process.stdout.write(`${line}\n`);
const compute = options.precision as 'bf16' | 'f16';
const { library, device } = chooseTorch({ device: options.device, compute });
const note = (text: string) => print(`note: ${text}`);
const cuda = openCuda({ library, device, compute, cudaGraphs: true, fusedKernels: false, note });
const place = { library, memory: new DeviceMemory(library, device), graphs: cuda?.graphs };
const target = {
  compute,
  channelsLast: true,
  normsTakeChannelsLast: false,
  addsProducts: false,
};

const figures = [];
for (const [batch, heads, queries, keys, channels] of sizes) {
  const all: AttentionSizes = {
    ...{ batch, heads, queries, keys, channels },
    scale: channels ** -0.5,
    causal: false,
  };
  const trial = new OpenTrial(place, attentionTrialGraph(all));
  let first: GraphTrial | undefined;
  for (const choice of cudaChoices(all, compute)) {
    const { kernel, chunks } = choice;
    if (kernel === 'composed') continue;
    const name = `[${batch},${heads},${queries},${keys},${channels}] ${kernel} in ${chunks}`;
    try {
      const made = library.quietly(() => trial.run({ ...target, attention: () => choice }));
      first ??= made;
      const agrees = compareRuns(first.results, made.results) === 'same';
      const { milliseconds } = made;
      print(`${agrees ? 'ok  ' : 'FAIL'} ${name}: ${(1e3 * milliseconds).toFixed(1)} us`);
      if (!agrees) process.exitCode = 1;
      figures.push({ name, choice, agrees, milliseconds });
    } catch (error) {
      print(`no   ${name}: ${(error as Error).message.split('\n')[0]}`);
    }
  }
  trial.close();
}
if (options.json) writeFileSync(options.json, `${JSON.stringify(figures, null, 2)}\n`);
