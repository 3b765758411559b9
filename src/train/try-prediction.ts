/**
 * @file Finds out what a UNet predicts, by one pass of the UNet itself. On an empty picture, which is
 * noise alone, the noise is easy to see: at an early timestep both the noise and the velocity are
 * almost that noise. At the last one a noise predictor still answers with the noise, whereas the
 * velocity is the picture that the model expects, turned around.
 */

import { GraphBuilder } from '../graph/graph-builder.ts';
import { fedText, type NetworkModel, predict, unetFeeds, wholeFrame } from '../models/networks.ts';
import type { Executor, Values } from '../runtime/executor.ts';
import { Rng } from '../tensor/rng.ts';
import { sizeOf } from '../tensor/shape.ts';
import { f32, type Tensor } from '../tensor/tensor.ts';
import {
  diffusionCoefficients,
  type PredictionType,
  stableDiffusionSchedule,
} from './noise-schedule.ts';

/** Noise of about half strength, and of full strength. */
const trialTimesteps = [200, 999] as const;
/** Latents of a small picture; its content does not matter. */
const side = 32;

/** How much of the noise an output must hold to count as seeing it; the velocity at 200 holds 0.8. */
const sawNoise = 0.4;
/** A noise predictor's last output holds all of the noise, a velocity 0.07 of it. */
const predictsNoise = 0.5;

/** How much of `part` is in `whole`: the factor of the least squares. */
function shareOf(part: ArrayLike<number>, whole: ArrayLike<number>): number {
  let [both, own] = [0, 0];
  for (let i = 0; i < part.length; i++) {
    both += part[i]! * whole[i]!;
    own += part[i]! ** 2;
  }
  return both / own;
}

/**
 * What a network predicts that gives these outputs for noise alone; null where it does not even see the
 * noise, as one that was never trained.
 * @param early output at an early timestep
 * @param last output at the last timestep
 */
export function judgePrediction(
  noise: ArrayLike<number>,
  early: ArrayLike<number>,
  last: ArrayLike<number>,
): PredictionType | null {
  if (!(shareOf(noise, early) > sawNoise)) return null;
  return shareOf(noise, last) > predictsNoise ? 'epsilon' : 'v_prediction';
}

/** @param text `context` [1, t, d] of an empty caption, and `pooled` where the family has it */
export async function tryPrediction(
  executor: Executor,
  model: NetworkModel,
  text: Values,
): Promise<PredictionType | null> {
  const g = new GraphBuilder();
  const shape = [1, 4, side, side];
  const tokens = text['context']!.shape[1]!;
  const conditions = fedText(g, model, { batch: 1, tokens });
  const out = predict(g, model, g.input('latents', shape), conditions);
  const executable = await executor.compile(g.build({ out }));
  const noise = new Rng(0, 'try-prediction').normals(sizeOf(shape));
  const frame = wholeFrame({ width: 8 * side, height: 8 * side });
  const outputs: ArrayLike<number>[] = [];
  try {
    for (const timestep of trialTimesteps) {
      const { sqrtOneMinusAlpha } = diffusionCoefficients(stableDiffusionSchedule(), timestep);
      const latents = f32(
        shape,
        noise.map((value) => value * sqrtOneMinusAlpha),
      );
      const feeds = { latents, ...unetFeeds(model, [timestep], [frame]), ...text };
      const { out: prediction } = (await executable.run(feeds)) as { out: Tensor<'f32'> };
      outputs.push(prediction.data);
    }
  } finally {
    await executable.dispose();
  }
  return judgePrediction(noise, outputs[0]!, outputs[1]!);
}
