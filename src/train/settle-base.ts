/** @file Settles how the base of a run is trained, trying it out where nothing tells, and says it. */

import { createClipTokenizer } from '../models/clip-tokenizer.ts';
import type { Executor } from '../runtime/executor.ts';
import { type BaseSettings, baseSettings, predictionNames } from './base-settings.ts';
import { encodeTexts } from './encode-texts.ts';
import type { Base } from './open-base.ts';
import { FrozenTextEncoder } from './text-encoding.ts';
import { textStore } from './text-store.ts';
import type { TrainLoraOptions } from './train-options.ts';
import { tryPrediction } from './try-prediction.ts';

/** One pass of the UNet with no caption, which is encoded apart: its encoder is not needed later. */
async function tryOut(
  { config, createExecutor }: TrainLoraOptions,
  base: Base,
  executor: Executor,
) {
  const { checkpoint } = base;
  const clipSkip = checkpoint.family.fixedClipSkip ?? 1;
  const text = { tokenizer: createClipTokenizer(), maxTokens: 75, clipSkip };
  const store = textStore(config.data.cacheDir, base, clipSkip);
  await encodeTexts({
    captions: [''],
    model: checkpoint,
    text,
    store,
    createExecutor: async () => createExecutor(checkpoint, { flipWeights: false }),
    onProgress: () => {},
  });
  const encoder = new FrozenTextEncoder(() => executor, checkpoint, text, store);
  const { family, shapes, heads } = checkpoint;
  // As the run's own graphs, so that weights are not there twice.
  const model = { family, shapes, heads, joinsLayers: executor.joinsLayers };
  return tryPrediction(executor, model, await encoder.encode(['']));
}

/** @throws UserError where the base and the configuration do not go together, or nothing tells */
export async function settleBase(
  options: TrainLoraOptions,
  base: Base,
  executor: Executor,
): Promise<BaseSettings> {
  const { config, log } = options;
  const { checkpoint } = base;
  const settings = await baseSettings(checkpoint, config.train, () =>
    tryOut(options, base, executor),
  );
  for (const warning of settings.warnings) log('warning', { warning });
  const { predictionType, predictionFrom, zeroTerminalSnr, clipSkip, resolution } = settings;
  log('base', {
    family: checkpoint.family.name,
    predicts: `${predictionNames[predictionType]}, ${predictionFrom}`,
    zeroTerminalSnr,
    clipSkip: checkpoint.family.fixedClipSkip === null ? clipSkip : null,
    resolution,
  });
  const [width, height] = config.data.resolution;
  if (resolution !== null && width * height < (resolution / 1.5) ** 2) {
    log('notice', {
      notice: `the base was made at ${resolution}×${resolution}, and data.resolution is ${width}×${height}: its pictures will be coarser than the base can draw`,
    });
  }
  return settings;
}
