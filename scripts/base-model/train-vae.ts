/** @file Trains the embedded base model's autoencoder on drawn pictures; run again to go on. */

import { parseArgs } from 'node:util';
import type { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Node } from '../../src/graph/ops.ts';
import { networkScope } from '../../src/models/layers.ts';
import { sd1TensorShapes } from '../../src/models/sd1/tensor-shapes.ts';
import { vaeDecoder, vaeEncoder } from '../../src/models/vae.ts';
import { createOnnxExecutor } from '../../src/runtime/onnx/onnx-executor.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { f32 } from '../../src/tensor/tensor.ts';
import { baseSizes } from './base-sizes.ts';
import { drawVariety } from './draw-variety.ts';
import { FullTraining, learningRateAt } from './full-training.ts';
import { passColours } from './initial-vae.ts';
import { noParameters } from './no-parameters.ts';
import { writeWindow } from './picture-tensor.ts';

const { values: options } = parseArgs({
  options: {
    steps: { type: 'string', default: '1500' },
    batch: { type: 'string', default: '8' },
    side: { type: 'string', default: '48' },
    picture: { type: 'string', default: '128' },
    state: { type: 'string', default: '.sdl-train/base/vae.safetensors' },
    minutes: { type: 'string', default: '60' },
  },
});
// Whole pictures that are drawn small teach colours quickly, windows of full-size ones teach edges.
const [steps, batch, side, pictureSide] = [
  options.steps,
  options.batch,
  options.side,
  options.picture,
].map(Number) as [number, number, number, number];
const peak = 1e-3;
const seed = 7;
/** Weight of the divergence from a standard normal against the squared error, both per element. */
const divergenceWeight = 1e-5;

const shapes = new Map(
  Array.from(sd1TensorShapes(baseSizes)).filter(([name]) => name.startsWith('vae.')),
);

function vaeLoss(g: GraphBuilder, weights: ReadonlyMap<string, Node>): Node {
  const scope = networkScope(g, shapes, 'vae', { makeWeight: (name) => weights.get(name)! });
  const image = g.input('image', [batch, 3, side, side]);
  const moments = vaeEncoder(scope, image);
  const mean = g.sliceAxis(moments, 1, 0, 4);
  const logVariance = g.sliceAxis(moments, 1, 4, 8);
  const noise = g.input('noise', mean.shape);
  const latents = g.add(mean, g.mul(g.exp(g.scale(logVariance, 0.5)), noise));
  const error = g.sub(vaeDecoder(scope, latents), image);
  const all = [0, 1, 2, 3];
  const divergence = g.sub(g.add(g.square(mean), g.exp(logVariance)), logVariance);
  const loss = g.add(
    g.mean(g.square(error), all),
    g.scale(g.mean(divergence, all), divergenceWeight / 2),
  );
  return g.reshape(loss, [1]);
}

const executor = createOnnxExecutor({ parameters: noParameters });
const training = await FullTraining.start({
  executor,
  shapes,
  statePath: options.state,
  seed,
  averageDecay: 0.995,
  adjustInitial: passColours,
  buildLoss: vaeLoss,
});
const pixels = 3 * side * side;
const latentSide = side / 8;
const end = Date.now() + 60_000 * Number(options.minutes);
let smooth = 0;
let begin = Date.now();
while (training.step < steps && Date.now() < end) {
  const { step } = training;
  const image = new Float32Array(batch * pixels);
  for (let i = 0; i < batch; i++) {
    const rng = new Rng(seed, 'vae-picture', step, i);
    const picture = drawVariety(pictureSide, rng);
    const corner = [
      rng.integer(pictureSide - side + 1),
      rng.integer(pictureSide - side + 1),
    ] as const;
    writeWindow(picture, corner, side, image, i * pixels);
  }
  const noiseShape = [batch, 4, latentSide, latentSide];
  const feeds = {
    image: f32([batch, 3, side, side], image),
    noise: f32(noiseShape, new Rng(seed, 'vae-noise', step).normals(batch * 4 * latentSide ** 2)),
  };
  const loss = await training.run(feeds, learningRateAt(step, steps, peak));
  smooth = smooth === 0 ? loss : 0.98 * smooth + 0.02 * loss;
  if (training.step % 20 === 0) {
    const perStep = (Date.now() - begin) / 20_000;
    begin = Date.now();
    process.stdout.write(
      `step ${training.step} loss ${loss.toFixed(5)} smooth ${smooth.toFixed(5)} ${perStep.toFixed(2)} s/step\n`,
    );
  }
  if (training.step % 100 === 0) await training.save();
}
await training.save();
await executor.dispose();
