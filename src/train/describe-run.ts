/** @file What the metadata of an adapter says of its run. */

import { basename } from 'node:path';
import type { Config } from '../config/resolve-config.ts';
import type {
  DatasetDescription,
  DatasetFolder,
  RunDescription,
} from '../export/kohya-metadata.ts';
import { countTags } from '../export/tag-frequency.ts';
import { withoutEmphasis } from '../models/emphasis.ts';
import type { Precision } from '../runtime/executor.ts';
import type { BaseSettings } from './base-settings.ts';
import type { Base } from './open-base.ts';
import type { Dataset, TrainSample } from './read-dataset.ts';
import type { RunPlan } from './run-plan.ts';

/** Program that writes the adapters. */
const software = 'sdl-train/0.1.0';

const secondsOfDay = 24 * 60 * 60;

/**
 * The day, in Unix seconds, that is written as a run's date: not the second, so that a run that is
 * repeated gives the same bytes. SOURCE_DATE_EPOCH (reproducible-builds.org) stands for the clock.
 */
export function runDate(now: number, sourceDateEpoch: string | undefined): number {
  if (sourceDateEpoch !== undefined && /^\d+$/.test(sourceDateEpoch))
    return Number(sourceDateEpoch);
  return Math.floor(now / 1000 / secondsOfDay) * secondsOfDay;
}

function folderOf(path: string, samples: readonly TrainSample[], emphasis: boolean): DatasetFolder {
  return {
    name: basename(path),
    repeats: samples[0]!.repeats,
    images: samples.length,
    regularization: samples[0]!.prior,
    tags: countTags(samples.map(({ caption }) => (emphasis ? withoutEmphasis(caption) : caption))),
  };
}

/** Map.groupBy, which Node 20 does not have. */
function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}

function describeDataset(config: Config, { samples }: Dataset): DatasetDescription {
  const { data, train } = config;
  const byFolder = groupBy(samples, ({ folder }) => folder);
  const byBucket = groupBy(samples, ({ bucket }) => `${bucket.width}x${bucket.height}`);
  const aspectErrors = samples.map(({ header, bucket }) =>
    Math.abs(header.width / header.height - bucket.width / bucket.height),
  );
  return {
    folders: Array.from(byFolder, ([path, inside]) => folderOf(path, inside, data.emphasis)),
    resolution: data.resolution,
    buckets: Array.from(byBucket.values(), (inside) => ({
      ...inside[0]!.bucket,
      count: inside.reduce((n, { repeats }) => n + repeats, 0),
    })),
    meanAspectError: aspectErrors.reduce((a, b) => a + b, 0) / aspectErrors.length,
    enableBucket: data.buckets.enabled,
    bucketNoUpscale: !data.buckets.upscale,
    minBucketSize: data.buckets.minSide,
    maxBucketSize: data.buckets.maxSide,
    batchSize: train.batchSize,
    flip: data.flip,
    randomCrop: false,
    shuffleCaption: data.shuffleTags,
    keepTokens: data.keepTokens,
    captionDropoutRate: data.captionDropout,
    tagDropoutRate: 0,
  };
}

/** What kohya's trainer calls the types that networks are computed in. */
const mixedPrecisions: { readonly [P in Precision]: string } = {
  f32: 'no',
  bf16: 'bf16',
  f16: 'fp16',
};

/** The description of a run, in the words of its configuration. */
export function describeRun(
  config: Config,
  {
    base,
    dataset,
    plan,
    settings,
  }: {
    readonly base: Base;
    readonly dataset: Dataset;
    readonly plan: RunPlan;
    readonly settings: BaseSettings;
  },
  {
    startedAt,
    sessionId,
    precision = 'f32',
  }: {
    readonly startedAt: number;
    readonly sessionId: number;
    readonly precision?: Precision | undefined;
  },
): RunDescription {
  const { lora, train, output, data } = config;
  const { fixedClipSkip } = base.checkpoint.family;
  const { beta1, beta2, epsilon, weightDecay } = train;
  const networkArgs: Record<string, string> =
    lora.convRank === null
      ? {}
      : { conv_dim: String(lora.convRank), conv_alpha: String(lora.convAlpha) };
  return {
    family: base.checkpoint.family.id,
    predictionType: settings.predictionType,
    zeroTerminalSnr: settings.zeroTerminalSnr,
    outputName: output.name,
    sessionId,
    startedAt,
    baseModel: base.file,
    vae: base.vaeFile,
    rank: lora.rank,
    alpha: lora.alpha,
    networkDropout: null,
    networkArgs,
    learningRate: train.learningRate,
    unetLearningRate: lora.unet ? train.unetLearningRate : null,
    textEncoderLearningRate: lora.textEncoder ? train.textEncoderLearningRate : null,
    optimizer: `AdamW(betas=(${beta1},${beta2}),eps=${epsilon},weight_decay=${weightDecay})`,
    lrScheduler: train.lrSchedule,
    warmupSteps: train.warmupSteps,
    maxSteps: plan.totalSteps,
    epochs: plan.epochs,
    batchesPerEpoch: plan.batchesPerEpoch,
    gradientAccumulationSteps: train.gradientAccumulationSteps,
    gradientCheckpointing: train.gradientCheckpointing,
    maxGradNorm: train.maxGradNorm,
    mixedPrecision: mixedPrecisions[precision],
    seed: train.seed,
    // As kohya's trainer: only where it was chosen.
    clipSkip: fixedClipSkip !== null || settings.clipSkip === 1 ? null : settings.clipSkip,
    maxTokenLength: train.maxTokens === 75 ? null : train.maxTokens,
    cacheLatents: true,
    noiseOffset: train.noiseOffset === 0 ? null : train.noiseOffset,
    minSnrGamma: train.minSnrGamma,
    debiasedEstimation: train.debiasedEstimation,
    priorLossWeight: train.priorLossWeight,
    dataset: describeDataset(config, dataset),
    comment: null,
    title: null,
    author: output.author,
    description: output.description,
    license: null,
    triggerPhrase: data.triggerWord,
    software,
  };
}
