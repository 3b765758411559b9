/** @file Takes the autoencoder of a finished checkpoint as the state that training and the pool start from. */

import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { openSd1Checkpoint } from '../../src/models/sd1/checkpoint.ts';
import { sd1TensorShapes } from '../../src/models/sd1/tensor-shapes.ts';
import { f32 } from '../../src/tensor/tensor.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import { writeSafetensors } from '../../src/weights/safetensors-writer.ts';
import { baseSizes } from './base-sizes.ts';
import { FlatWeights } from './flat-weights.ts';

const { values: options } = parseArgs({
  options: {
    base: { type: 'string', default: 'models/Stable-diffusion/sdl-tiny-v1.safetensors' },
    state: { type: 'string', default: '.sdl-train/base/vae.safetensors' },
  },
});
if (existsSync(options.state)) {
  process.stdout.write(`${options.state} is there already\n`);
  process.exit(0);
}
const file = await openSafetensors(options.base);
const checkpoint = openSd1Checkpoint(file);
const flat = new FlatWeights(
  Array.from(sd1TensorShapes(baseSizes)).filter(([name]) => name.startsWith('vae.')),
);
const weights = new Float32Array(flat.length);
for (const name of flat.places.keys()) flat.view(weights, name).set(checkpoint.read(name));
file.close();
const vector = f32([flat.length], weights);
const zeros = f32([flat.length]);
await mkdir(dirname(options.state), { recursive: true });
await writeSafetensors(
  options.state,
  new Map([
    ['weights', vector],
    ['average', vector],
    ['momentum', zeros],
    ['variance', zeros],
  ]),
  new Map([['step', '0']]),
);
