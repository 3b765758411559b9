/** @file Writes the trained networks as one checkpoint in SD 1.x's layout, F16. */

import { parseArgs } from 'node:util';
import { sd1CheckpointKey } from '../../src/models/sd1/key-map.ts';
import { sd1TensorShapes } from '../../src/models/sd1/tensor-shapes.ts';
import { f32ToF16 } from '../../src/tensor/half.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { type Shape, sizeOf } from '../../src/tensor/shape.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import { writeSafetensors } from '../../src/weights/safetensors-writer.ts';
import { baseSizes } from './base-sizes.ts';
import { compactVocabulary } from './compact-vocabulary.ts';
import { FlatWeights } from './flat-weights.ts';
import { readLatentPool } from './latent-pool.ts';
import { tokenTable, vocabularySeed } from './token-table.ts';
import { readTrainedVae, standardizeLatents } from './trained-vae.ts';

const { values: options } = parseArgs({
  options: {
    vae: { type: 'string', default: '.sdl-train/base/vae.safetensors' },
    unet: { type: 'string', default: '.sdl-train/base/unet.safetensors' },
    pool: { type: 'string', default: '.sdl-train/base/pool.safetensors' },
    out: { type: 'string', default: 'models/Stable-diffusion/sdl-tiny-v1.safetensors' },
  },
});

/** Rows for words that the model has never seen are random, and as long as those that it has. */
function fullTokenTable(trained: Float32Array, ids: readonly number[]): Float32Array {
  const { vocabulary, hidden } = baseSizes.text;
  const squares = trained.reduce((sum, value) => sum + value * value, 0);
  const deviation = Math.sqrt(squares / trained.length);
  const table = new Rng(17, 'unseen-words').normals(vocabulary * hidden).map((v) => v * deviation);
  for (const [row, id] of ids.entries()) {
    table.set(trained.subarray(row * hidden, (row + 1) * hidden), id * hidden);
  }
  return table;
}

const shapes = sd1TensorShapes(baseSizes);
const weights = await readTrainedVae(options.vae);
standardizeLatents(weights, (await readLatentPool(options.pool)).statistics);

const { ids } = compactVocabulary(vocabularySeed);
const trainedShapes = new Map<string, Shape>(
  [...shapes].filter(([name]) => !name.startsWith('vae.')),
);
trainedShapes.set(tokenTable, [ids.length, baseSizes.text.hidden]);
const flat = new FlatWeights(trainedShapes);
const file = await openSafetensors(options.unet);
const average = await file.readF32('average');
const step = file.metadata.get('step') ?? '?';
await file.close();
for (const name of trainedShapes.keys()) weights.set(name, flat.view(average, name));
weights.set(tokenTable, fullTokenTable(weights.get(tokenTable)!, ids));

const tensors = new Map<string, Tensor>();
for (const [name, shape] of shapes) {
  const data = f32ToF16(weights.get(name)!);
  if (data.length !== sizeOf(shape)) throw new Error(`internal: ${name} has ${data.length} values`);
  tensors.set(sd1CheckpointKey(name, baseSizes), { dtype: 'f16', shape, data });
}
await writeSafetensors(
  options.out,
  tensors,
  new Map([
    ['modelspec.sai_model_spec', '1.0.1'],
    ['modelspec.architecture', 'stable-diffusion-v1'],
    ['modelspec.title', 'sdl-tiny-v1'],
    ['modelspec.description', `Shapes and colours at 128x128; ${step} steps, scripts/base-model`],
    ['modelspec.prediction_type', 'epsilon'],
    ['modelspec.resolution', '128x128'],
  ]),
);
process.stdout.write(`${options.out}: ${tensors.size} tensors\n`);
