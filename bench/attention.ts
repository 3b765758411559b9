/**
 * @file What attention may be computed by on an NVIDIA GPU, one beside the other, forward and backward: whether all give the
 * same, and how long each takes, at the sizes of SD 1.5 (512 pixels) and SDXL (1024).
 *
 *     npx tsx bench/attention.ts --device cuda --precision bf16 --json attention.json
 */

import { writeFileSync } from 'node:fs';
import { compareRuns } from '../src/runtime/torch/agreement.ts';
import { attentionTrialGraph, cudaChoices } from '../src/runtime/torch/attention-trials.ts';
import { type GraphTrial, OpenTrial } from '../src/runtime/torch/graph-trial.ts';
import type { AttentionSizes } from '../src/runtime/torch/rules/rule.ts';
import { openTrialDevice, print, trialOptions } from './trial-device.ts';

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

const { compute, ...options } = trialOptions();
const device = openTrialDevice(options.device, compute);
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
  const trial = new OpenTrial(device, attentionTrialGraph(all));
  let first: GraphTrial | undefined;
  for (const choice of cudaChoices(all, compute)) {
    const { kernel, chunks } = choice;
    if (kernel === 'composed') continue;
    const name = `[${batch},${heads},${queries},${keys},${channels}] ${kernel} in ${chunks}`;
    try {
      const made = device.library.quietly(() => trial.run({ ...target, attention: () => choice }));
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
