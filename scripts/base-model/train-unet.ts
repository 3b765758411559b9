/** @file Trains the embedded base model's UNet and text encoder together; run again to go on. */

import { parseArgs } from 'node:util';
import type { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Node } from '../../src/graph/ops.ts';
import { textContext } from '../../src/models/clip-text-model.ts';
import { networkScope } from '../../src/models/layers.ts';
import { unetHeads } from '../../src/models/sd1/sizes.ts';
import { sd1TensorShapes } from '../../src/models/sd1/tensor-shapes.ts';
import { timestepEmbedding } from '../../src/models/timestep-embedding.ts';
import { unet } from '../../src/models/unet.ts';
import { createOnnxExecutor } from '../../src/runtime/onnx/onnx-executor.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { f32, i32 } from '../../src/tensor/tensor.ts';
import { diffusionLoss, lossInputs, noisyLatents } from '../../src/train/loss.ts';
import {
  coefficientTensors,
  snr,
  stableDiffusionSchedule,
  trainTimesteps,
} from '../../src/train/noise-schedule.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import { captionOf } from '../drawing/scene.ts';
import { baseSide, baseSizes } from './base-sizes.ts';
import { compactVocabulary } from './compact-vocabulary.ts';
import { FlatWeights } from './flat-weights.ts';
import { FullTraining, learningRateAt } from './full-training.ts';
import { passLatents } from './initial-unet.ts';
import { readLatentPool } from './latent-pool.ts';
import { noParameters } from './no-parameters.ts';
import { textShapes } from './text-shapes.ts';
import { tokenTable, vocabularySeed } from './token-table.ts';

const { values: options } = parseArgs({
  options: {
    steps: { type: 'string', default: '5200' },
    batch: { type: 'string', default: '16' },
    pool: { type: 'string', default: '.sdl-train/base/pool.safetensors' },
    state: { type: 'string', default: '.sdl-train/base/unet.safetensors' },
    /** Puts this text encoder in place of the one in the state, and leaves it as it is. */
    text: { type: 'string' },
    minutes: { type: 'string', default: '120' },
  },
});
const [steps, batch] = [Number(options.steps), Number(options.batch)];
const seed = 13;
const peak = 1.2e-3;
/** Bounds of a timestep's weight, in squared errors of the picture and of the predicted noise. */
const [pictureBound, noiseBound] = [5, 10];
/**
 * Strength of noise that is equal over a whole channel: without it the mean colour of a picture shows
 * through the strongest noise, and captions are not needed to find it.
 */
const noiseOffset = 0.2;
/** Share of the timesteps that are drawn from the noisier half, where captions decide. */
const noisyShare = 0.5;
/** Share of empty captions, which guidance needs. */
const captionDropout = 0.1;
const side = baseSide / 8;

const vocabulary = compactVocabulary(vocabularySeed);
const shapes = new Map(
  Array.from(sd1TensorShapes(baseSizes)).filter(([name]) => !name.startsWith('vae.')),
);
shapes.set(tokenTable, [vocabulary.ids.length, baseSizes.text.hidden]);

function unetLoss(g: GraphBuilder, weights: ReadonlyMap<string, Node>): Node {
  const makeWeight = (name: string) => weights.get(name)!;
  const inputs = lossInputs(g, [batch, 4, side, side]);
  const text = networkScope(g, shapes, 'text_encoder', { makeWeight });
  const prediction = unet(
    networkScope(g, shapes, 'unet', { makeWeight }),
    {
      latents: noisyLatents(g, inputs),
      timeProj: g.input('timeProj', [batch, baseSizes.unet.channels[0]!]),
      context: textContext(text, g.input('ids', [batch, 77], 'i32')),
    },
    { heads: () => unetHeads },
  );
  return diffusionLoss(g, prediction, inputs.noise, inputs.weight).loss;
}

const pool = await readLatentPool(options.pool);
const schedule = stableDiffusionSchedule();

function noiseOf(step: number, size: number): Float32Array {
  const rng = new Rng(seed, 'unet-noise', step);
  const noise = rng.normals(size);
  for (let at = 0; at < size; at += side * side) {
    const shift = noiseOffset * rng.normal();
    for (let i = at; i < at + side * side; i++) noise[i]! += shift;
  }
  return noise;
}

/**
 * Velocity's weight (Salimans and Ho 2022, arXiv:2202.00512), (snr + 1) / snr for predicted noise,
 * bounded as min-SNR is: what the noisiest timesteps tell of a picture, its shapes above all, is little
 * of the noise, and hardly counts otherwise. Without the second bound, the last timesteps (213 times)
 * make the training jump.
 */
function lossWeight(timestep: number): number {
  const ratio = snr(schedule, timestep);
  return Math.min(Math.min(ratio + 1, pictureBound) / ratio, noiseBound);
}

function feedsOf(step: number) {
  const latents = new Float32Array(batch * pool.size);
  const ids = new Int32Array(batch * 77);
  const timesteps: number[] = [];
  for (let i = 0; i < batch; i++) {
    const rng = new Rng(seed, 'unet-sample', step, i);
    const index = rng.integer(pool.scenes.length);
    pool.draw(index, rng, latents, i * pool.size);
    const caption = rng.uniform() < captionDropout ? '' : captionOf(pool.scenes[index]!, rng);
    ids.set(vocabulary.rows(caption), i * 77);
    const half = trainTimesteps / 2;
    const noisy = rng.uniform() < noisyShare;
    timesteps.push(noisy ? half + rng.integer(half) : rng.integer(trainTimesteps));
  }
  const shape = [batch, 4, side, side];
  return {
    latents: f32(shape, latents),
    noise: f32(shape, noiseOf(step, latents.length)),
    ...coefficientTensors(schedule, timesteps),
    weight: f32([batch], timesteps.map(lossWeight)),
    timeProj: timestepEmbedding(timesteps, baseSizes.unet.channels[0]!),
    ids: i32([batch, 77], ids),
  };
}

const executor = createOnnxExecutor({ parameters: noParameters });
const training = await FullTraining.start({
  executor,
  shapes,
  statePath: options.state,
  seed,
  averageDecay: 0.998,
  isTrained: (name) => !options.text || !name.startsWith('text_encoder.'),
  adjustInitial: passLatents,
  buildLoss: unetLoss,
});
if (options.text) {
  const file = await openSafetensors(options.text);
  const names = textShapes(vocabulary.ids.length);
  const trained = new FlatWeights(names);
  const average = await file.readF32('average');
  file.close();
  training.replace(new Map([...names.keys()].map((name) => [name, trained.view(average, name)])));
}
const end = Date.now() + 60_000 * Number(options.minutes);
let smooth = 0;
let begin = Date.now();
while (training.step < steps && Date.now() < end) {
  const loss = await training.run(
    feedsOf(training.step),
    learningRateAt(training.step, steps, peak, 200),
  );
  smooth = smooth === 0 ? loss : 0.98 * smooth + 0.02 * loss;
  if (training.step % 20 === 0) {
    const perStep = (Date.now() - begin) / 20_000;
    begin = Date.now();
    process.stdout.write(
      `step ${training.step} loss ${loss.toFixed(4)} smooth ${smooth.toFixed(4)} ${perStep.toFixed(2)} s/step\n`,
    );
  }
  if (training.step % 200 === 0) await training.save();
}
await training.save();
await executor.dispose();
