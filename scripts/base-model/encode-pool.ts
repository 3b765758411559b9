/** @file Encodes the pictures that the UNet is trained on, once. */

import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import { networkScope } from '../../src/models/layers.ts';
import { sd1TensorShapes } from '../../src/models/sd1/tensor-shapes.ts';
import { vaeEncoder } from '../../src/models/vae.ts';
import { createOnnxExecutor } from '../../src/runtime/onnx/onnx-executor.ts';
import { f32ToF16 } from '../../src/tensor/half.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { f32 } from '../../src/tensor/tensor.ts';
import { writeSafetensors } from '../../src/weights/safetensors-writer.ts';
import { drawScene } from '../drawing/draw-scene.ts';
import { sampleScene } from '../drawing/scene.ts';
import { baseSide, baseSizes } from './base-sizes.ts';
import { writeWindow } from './picture-tensor.ts';
import { readTrainedVae, sourceOf } from './trained-vae.ts';

const { values: options } = parseArgs({
  options: {
    pictures: { type: 'string', default: '6000' },
    vae: { type: 'string', default: '.sdl-train/base/vae.safetensors' },
    out: { type: 'string', default: '.sdl-train/base/pool.safetensors' },
  },
});

/** Seed of the scenes; the UNet's training makes the same scenes again to caption them. */
const poolSeed = 11;
const batch = 8;
const momentCount = 8 * (baseSide / 8) ** 2;

if (existsSync(options.out)) {
  process.stdout.write(`${options.out} is there already\n`);
  process.exit(0);
}
const executor = createOnnxExecutor({ parameters: sourceOf(await readTrainedVae(options.vae)) });
const g = new GraphBuilder();
const image = g.input('image', [batch, 3, baseSide, baseSide]);
const scope = networkScope(g, sd1TensorShapes(baseSizes), 'vae');
const executable = await executor.compile(g.build({ moments: vaeEncoder(scope, image) }));
const pictures = Math.ceil(Number(options.pictures) / batch) * batch;
const moments = new Float32Array(pictures * momentCount);
const pixels = 3 * baseSide * baseSide;
for (let i = 0; i < pictures; i += batch) {
  const data = new Float32Array(batch * pixels);
  for (let j = 0; j < batch; j++) {
    const rng = new Rng(poolSeed, 'pool', 0, i + j);
    writeWindow(drawScene(sampleScene(rng), rng), [0, 0], baseSide, data, j * pixels);
  }
  const out = await executable.run({ image: f32([batch, 3, baseSide, baseSide], data) });
  moments.set(out['moments']!.data as Float32Array, i * momentCount);
  if (i % 400 === 0) process.stdout.write(`${i} of ${pictures} pictures\n`);
}
const shape = [pictures, 8, baseSide / 8, baseSide / 8];
await writeSafetensors(
  options.out,
  new Map([['moments', { dtype: 'f16', shape, data: f32ToF16(moments) }]]),
  new Map([['seed', String(poolSeed)]]),
);
await executor.dispose();
