/** @file Settles how the base of a run is trained, trying it out where nothing tells, and says it. */

import type { Config, UnsizedConfig } from '../config/resolve-config.ts';
import { sizeConfig } from '../config/size-config.ts';
import { createClipTokenizer } from '../models/clip-tokenizer.ts';
import { type BaseSettings, baseSettings, predictionNames } from './base-settings.ts';
import { encodeTexts } from './encode-texts.ts';
import type { Base } from './open-base.ts';
import { FrozenTextEncoder } from './text-encoding.ts';
import { textStore } from './text-store.ts';
import { type TrainLoraOptions, usedOnce } from './train-options.ts';
import { tryPrediction } from './try-prediction.ts';

/** One pass of the UNet with no caption, which is encoded apart: both give their memory back. */
async function tryOut({ config, createExecutor }: TrainLoraOptions, base: Base) {
  const { checkpoint } = base;
  const clipSkip = checkpoint.family.fixedClipSkip ?? 1;
  const text = { tokenizer: createClipTokenizer(), maxTokens: 75, clipSkip };
  const store = textStore(config.data.cacheDir, base, clipSkip);
  await encodeTexts({
    captions: [''],
    model: checkpoint,
    text,
    store,
    createExecutor: async () => createExecutor(checkpoint, usedOnce),
    onProgress: () => {},
  });
  const executor = await createExecutor(checkpoint, usedOnce);
  try {
    const encoder = new FrozenTextEncoder(() => executor, checkpoint, text, store);
    return await tryPrediction(executor, checkpoint, await encoder.encode(['']));
  } finally {
    await executor.dispose();
  }
}

/** What is said of the pictures' size; null where the configuration and the base agree. */
function sizeNotice(config: UnsizedConfig, native: number | null): string | null {
  const { resolution } = config.data;
  const { resolution: taken } = sizeConfig(config, native).data;
  const size = taken.join('×');
  if (native === null) {
    return resolution === null
      ? `nothing tells at which size the base was made, so pictures are trained at ${size}; data.resolution sets another`
      : null;
  }
  if (taken[0] * taken[1] >= (native / 1.5) ** 2) return null;
  return `the base was made at ${native}×${native}, and data.resolution is ${size}: its pictures will be coarser than the base can draw`;
}

/**
 * @returns how the base is trained, and the configuration with the sizes that follow from it
 * @throws UserError where the base and the configuration do not go together, or nothing tells
 */
export async function settleBase(
  options: TrainLoraOptions,
  base: Base,
): Promise<{ readonly settings: BaseSettings; readonly config: Config }> {
  const { config, log } = options;
  const { checkpoint } = base;
  const settings = await baseSettings(checkpoint, config.train, () => tryOut(options, base));
  for (const warning of settings.warnings) log('warning', { warning });
  const { predictionType, predictionFrom, zeroTerminalSnr, clipSkip, resolution } = settings;
  const sized = sizeConfig(config, resolution);
  log('base', {
    family: checkpoint.family.name,
    predicts: `${predictionNames[predictionType]}, ${predictionFrom}`,
    zeroTerminalSnr,
    clipSkip: checkpoint.family.fixedClipSkip === null ? clipSkip : null,
    resolution,
    trainedAt: sized.data.resolution.join('×'),
  });
  const notice = sizeNotice(config, resolution);
  if (notice !== null) log('notice', { notice });
  return { settings, config: sized };
}
