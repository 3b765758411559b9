/** @file What the result of a run depends on. */

import { createHash } from 'node:crypto';
import type { Config } from '../config/resolve-config.ts';
import type { BaseSettings } from './base-settings.ts';
import type { Base } from './open-base.ts';
import type { Dataset } from './read-dataset.ts';
import type { RunPlan } from './run-plan.ts';
import type { Fingerprint } from './train-state.ts';

/**
 * With all of it equal, an interrupted run goes on; names are those of the configuration. What computes
 * is not in it, nor how a step is made to fit the memory: a run may go on on another machine, where only
 * rounding differs.
 */
export function runFingerprint(
  config: Config,
  base: Base,
  { samples }: Dataset,
  plan: RunPlan,
  { predictionType, zeroTerminalSnr, clipSkip }: BaseSettings,
): Fingerprint {
  const {
    steps: _steps,
    epochs: _epochs,
    gradientCheckpointing: _gradientCheckpointing,
    ...train
  } = config.train;
  const { folders: _folders, cacheDir: _cacheDir, ...data } = config.data;
  const images = samples.map(({ contentHash, caption, bucket, repeats, prior, triggerWord }) => [
    contentHash,
    caption,
    bucket,
    repeats,
    prior,
    triggerWord,
  ]);
  const settled = { predictionType, zeroTerminalSnr, clipSkip };
  const settings = Object.entries({ ...train, ...settled, ...data, ...config.lora });
  return {
    ...Object.fromEntries(settings.map(([key, value]) => [key, JSON.stringify(value)])),
    base: base.file.sha256 ?? '',
    vae: base.vaeKey,
    steps: String(plan.totalSteps),
    images: createHash('sha256').update(JSON.stringify(images)).digest('hex'),
  };
}
