/** @file A trainer of the small model, with its factors as they are before the first step. */

import type { BatchItem, PlannedBatch } from '../../src/data/batch-plan.ts';
import { initLora } from '../../src/lora/init-lora.ts';
import { unetFeeds } from '../../src/models/networks.ts';
import { f32 } from '../../src/tensor/tensor.ts';
import { momentVariables } from '../../src/train/lora-step.ts';
import { LoraTrainer, type TrainerOptions } from '../../src/train/lora-trainer.ts';
import { stableDiffusionSchedule } from '../../src/train/noise-schedule.ts';
import { randomTensor, tinyExecutor, tinyLayouts, tinyModel, tinyText } from './tiny-training.ts';

export const beta1 = 0.9;
export const rates = { unet: 0.01, text_encoder: 0.02 };
const seed = 5;

/** A trainer of captions on 16×16 pictures; everything may be replaced. */
export function makeTrainer(
  groups: { readonly unet: boolean; readonly textEncoder: boolean },
  changes: Partial<TrainerOptions> = {},
) {
  const { executor = tinyExecutor() } = changes;
  const layouts = tinyLayouts(groups);
  for (const layout of layouts) {
    executor.writeVariable(layout.variable, f32([layout.size], initLora(layout, seed)));
    for (const moment of momentVariables(layout)) {
      executor.writeVariable(moment, f32([layout.size]));
    }
  }
  const compiled: string[] = [];
  const trainer = new LoraTrainer({
    executor,
    model: tinyModel,
    layouts,
    step: { clipSkip: 1, gradientCheckpointing: false },
    adamw: { betas: [beta1, 0.999], epsilon: 1e-8, weightDecay: 0 },
    noise: {
      seed,
      schedule: stableDiffusionSchedule(),
      predictionType: 'epsilon',
      minTimestep: 0,
      maxTimestep: 1000,
      minSnrGamma: null,
      debiasedEstimation: false,
      noiseOffset: 0,
      priorLossWeight: 1,
      latentScale: tinyModel.family.latentScale,
      conditions: (timesteps) => unetFeeds(tinyModel, timesteps, []),
    },
    text: tinyText(),
    captions: {
      shuffleTags: false,
      keepTokens: 0,
      captionSeparator: ',',
      emphasis: false,
      captionDropout: 0,
      variants: null,
    },
    samples: [
      { caption: 'a dog', triggerWord: null },
      { caption: 'a cat', triggerWord: 'zibbo' },
    ],
    momentsOf: ({ sample }) => randomTensor([8, 2, 2], sample),
    maxGradNorm: 0,
    onCompile: (shape) => compiled.push(shape),
    ...changes,
  });
  const read = (name: string) => Array.from(executor.readVariable(name).data);
  return { trainer, executor, layouts, read, compiled };
}

const item = (sample: number): BatchItem => ({
  sample,
  prior: false,
  flip: false,
  epoch: 0,
  position: sample,
});
export const batch = (...items: number[]): PlannedBatch => ({
  bucket: { width: 16, height: 16 },
  items: items.map(item),
});
