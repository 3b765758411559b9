/** @file Shows what the autoencoder makes of pictures: originals above, reconstructions below. */

import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import { networkScope } from '../../src/models/layers.ts';
import { sd1TensorShapes } from '../../src/models/sd1/tensor-shapes.ts';
import { vaeDecoder, vaeEncoder } from '../../src/models/vae.ts';
import { createOnnxExecutor } from '../../src/runtime/onnx/onnx-executor.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { f32 } from '../../src/tensor/tensor.ts';
import { baseSide, baseSizes } from './base-sizes.ts';
import { drawVariety } from './draw-variety.ts';
import { writeWindow } from './picture-tensor.ts';
import { readTrainedVae, sourceOf } from './trained-vae.ts';

const { values: options } = parseArgs({
  options: {
    vae: { type: 'string', default: '.sdl-train/base/vae.safetensors' },
    out: { type: 'string', default: '.sdl-train/base/vae.png' },
  },
});
const count = 8;
const executor = createOnnxExecutor({ parameters: sourceOf(await readTrainedVae(options.vae)) });
const g = new GraphBuilder();
const scope = networkScope(g, sd1TensorShapes(baseSizes), 'vae');
const moments = vaeEncoder(scope, g.input('image', [count, 3, baseSide, baseSide]));
const mean = g.sliceAxis(moments, 1, 0, 4);
const executable = await executor.compile(g.build({ moments, decoded: vaeDecoder(scope, mean) }));
const pixels = 3 * baseSide * baseSide;
const image = new Float32Array(count * pixels);
for (let i = 0; i < count; i++) {
  writeWindow(
    drawVariety(baseSide, new Rng(99, 'show', 0, i)),
    [0, 0],
    baseSide,
    image,
    i * pixels,
  );
}
const out = await executable.run({ image: f32([count, 3, baseSide, baseSide], image) });
const decoded = out['decoded']!.data as Float32Array;
const values = out['moments']!.data as Float32Array;
const half = values.length / count / 2;
let squares = 0;
let logVariances = 0;
for (let n = 0; n < count; n++) {
  for (let i = 0; i < half; i++) {
    squares += values[n * 2 * half + i]! ** 2;
    logVariances += values[n * 2 * half + half + i]!;
  }
}
const error = decoded.reduce((sum, v, i) => sum + (v - image[i]!) ** 2, 0) / decoded.length;
process.stdout.write(
  `squared error ${error.toFixed(5)}, latents ${Math.sqrt(squares / count / half).toFixed(3)}, log-variance ${(logVariances / count / half).toFixed(3)}\n`,
);
const sheet = Buffer.alloc(count * pixels * 2);
for (const [row, source] of [image, decoded].entries()) {
  for (let n = 0; n < count; n++) {
    for (let i = 0; i < pixels; i++) {
      const c = Math.floor(i / baseSide ** 2);
      const y = Math.floor((i % baseSide ** 2) / baseSide);
      const at = ((row * baseSide + y) * count * baseSide + n * baseSide + (i % baseSide)) * 3 + c;
      sheet[at] = Math.max(0, Math.min(255, Math.round((source[n * pixels + i]! + 1) * 127.5)));
    }
  }
}
await sharp(sheet, { raw: { width: count * baseSide, height: 2 * baseSide, channels: 3 } })
  .png()
  .toFile(options.out);
await executor.dispose();
