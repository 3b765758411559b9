/**
 * @file Our own kernels beside libtorch's on an NVIDIA GPU, forward and backward: whether they give the same,
 * and how long both take, at the sizes of SD 1.5 (512 pixels) and SDXL (1024).
 *
 *     npx tsx bench/kernels.ts --device cuda --precision bf16 --json kernels.json
 */

import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { openCuda } from '../src/runtime/torch/cuda-support.ts';
import { DeviceMemory } from '../src/runtime/torch/device-memory.ts';
import { tryKernel } from '../src/runtime/torch/kernel-trial.ts';
import { ownKernels, unchunked } from '../src/runtime/torch/rules/rule.ts';
import { chooseTorch } from '../src/runtime/torch/torch-executor.ts';

const { values: options } = parseArgs({
  options: {
    device: { type: 'string', default: 'cuda' },
    precision: { type: 'string', default: 'bf16' },
    json: { type: 'string' },
  },
});

const sizes = [
  { images: 1, side: 64, channels: 320 },
  { images: 8, side: 64, channels: 320 },
  { images: 8, side: 32, channels: 640 },
  { images: 8, side: 16, channels: 1280 },
  { images: 4, side: 64, channels: 640 },
  { images: 4, side: 32, channels: 1280 },
] as const;

const print = (line: string) => process.stdout.write(`${line}\n`);
const compute = options.precision as 'f32' | 'bf16' | 'f16';
const { library, device } = chooseTorch({ device: options.device, compute });
const note = (text: string) => print(`note: ${text}`);
const cuda = openCuda({ library, device, compute, cudaGraphs: true, fusedKernels: true, note });
if (!cuda?.launcher) {
  print('no kernels of our own here');
  process.exit(1);
}
const place = {
  library,
  launcher: cuda.launcher,
  graphs: cuda.graphs,
  memory: new DeviceMemory(library, device),
  target: {
    compute,
    attention: () => unchunked('composed'),
    channelsLast: true,
    normsTakeChannelsLast: false,
    addsProducts: false,
  },
};

const figures = [];
let failed = 0;
for (const size of sizes) {
  for (const kernel of ownKernels) {
    const name = `${kernel} ${size.images}x${size.channels}x${size.side}x${size.side} ${compute}`;
    try {
      const trial = tryKernel(place, kernel, size);
      const times = `${trial.without.toFixed(3)} ms without, ${trial.with.toFixed(3)} with`;
      print(`${trial.agrees ? 'ok  ' : 'FAIL'} ${name}: ${times}`);
      if (!trial.agrees) failed++;
      figures.push({ name, ...size, precision: compute, ...trial });
    } catch (error) {
      failed++;
      print(`FAIL ${name}: ${(error as Error).message}`);
    }
  }
}
if (options.json) writeFileSync(options.json, `${JSON.stringify(figures, null, 2)}\n`);
if (failed > 0) process.exitCode = 1;
