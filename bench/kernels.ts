/**
 * @file Our own kernels beside libtorch's on an NVIDIA GPU, forward and backward: whether they give the same,
 * and how long both take, at the sizes of SD 1.5 (512 pixels) and SDXL (1024).
 *
 *     npx tsx bench/kernels.ts --device cuda --precision bf16 --json kernels.json
 */

import { writeFileSync } from 'node:fs';
import { tryKernel } from '../src/runtime/torch/kernel-trial.ts';
import { ownKernels, unchunked } from '../src/runtime/torch/rules/rule.ts';
import { openTrialDevice, print, trialOptions } from './trial-device.ts';

const sizes = [
  { images: 1, side: 64, channels: 320 },
  { images: 8, side: 64, channels: 320 },
  { images: 8, side: 32, channels: 640 },
  { images: 8, side: 16, channels: 1280 },
  { images: 4, side: 64, channels: 640 },
  { images: 4, side: 32, channels: 1280 },
] as const;

const { compute, ...options } = trialOptions();
const device = openTrialDevice(options.device, compute);
if (!device.launcher) {
  print('no kernels of our own here');
  process.exit(1);
}
const place = {
  ...device,
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
