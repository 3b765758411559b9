/** @file The metadata of an adapter file: what a run was, in the words of kohya's sd-scripts. */

import type { Metadata } from '../weights/safetensors-header.ts';
import { PyFloat, type PyJson, pyFloat, pyJson, pyStr } from './python-text.ts';
import { capTagFrequency, type TagFrequency } from './tag-frequency.ts';

/** Which base models an adapter fits. */
export type AdapterFamily = 'sd1' | 'sd2' | 'sdxl';

/** A checkpoint file that a run started from. */
export interface SourceFile {
  /** Name of the file, without its folder. */
  readonly name: string;
  /** `sdModelHash` of it. */
  readonly legacyHash?: string;
  /** `fileSha256` of it. */
  readonly sha256?: string;
}

/** One folder of images. */
export interface DatasetFolder {
  /** Last part of its path. */
  readonly name: string;
  readonly repeats: number;
  readonly images: number;
  /** Whether its images are for prior preservation. */
  readonly regularization: boolean;
  /** `countTags` of its captions. */
  readonly tags: ReadonlyMap<string, number>;
}

/** What a run trains on. Counts of images include repeats where they say so. */
export interface DatasetDescription {
  readonly folders: readonly DatasetFolder[];
  /** Width and height in pixels. */
  readonly resolution: readonly [number, number];
  /** Sizes in pixels; `count` includes repeats. */
  readonly buckets: readonly {
    readonly width: number;
    readonly height: number;
    readonly count: number;
  }[];
  /** Mean of |image's width/height - bucket's width/height|. */
  readonly meanAspectError: number;
  readonly enableBucket: boolean;
  readonly bucketNoUpscale: boolean;
  readonly minBucketSize: number;
  readonly maxBucketSize: number;
  readonly batchSize: number;
  readonly flip: boolean;
  readonly randomCrop: boolean;
  readonly shuffleCaption: boolean;
  readonly keepTokens: number;
  readonly captionDropoutRate: number;
  readonly tagDropoutRate: number;
}

/** A run, in plain values; null stands for "not set". Nothing is taken from the clock. */
export interface RunDescription {
  readonly family: AdapterFamily;
  readonly predictionType: 'epsilon' | 'v_prediction';
  readonly zeroTerminalSnr: boolean;
  /** File stem of the finished adapter; also its alias in the web UI. */
  readonly outputName: string;
  /** Any number that tells one run from another, the same for all files of a run. */
  readonly sessionId: number;
  /** Unix time in seconds. */
  readonly startedAt: number;
  readonly baseModel: SourceFile;
  readonly vae: SourceFile | null;
  readonly rank: number;
  readonly alpha: number;
  readonly networkDropout: number | null;
  /** Such as `{ conv_dim: '8', conv_alpha: '1' }`; empty where there is nothing to say. */
  readonly networkArgs: Readonly<Record<string, string>>;
  readonly learningRate: number;
  readonly unetLearningRate: number | null;
  readonly textEncoderLearningRate: number | null;
  /** With its options, such as `AdamW(weight_decay=0.01)`. */
  readonly optimizer: string;
  readonly lrScheduler: string;
  readonly warmupSteps: number;
  readonly maxSteps: number;
  readonly epochs: number;
  readonly batchesPerEpoch: number;
  readonly gradientAccumulationSteps: number;
  readonly gradientCheckpointing: boolean;
  readonly maxGradNorm: number;
  /** `no`, `fp16` or `bf16`. */
  readonly mixedPrecision: string;
  readonly seed: number;
  readonly clipSkip: number | null;
  /** 150 or 225; null for the usual 75. */
  readonly maxTokenLength: number | null;
  readonly cacheLatents: boolean;
  readonly noiseOffset: number | null;
  readonly minSnrGamma: number | null;
  readonly debiasedEstimation: boolean;
  readonly priorLossWeight: number;
  readonly dataset: DatasetDescription;
  readonly comment: string | null;
  /** Shown as the title; the output name where null. */
  readonly title: string | null;
  readonly author: string | null;
  readonly description: string | null;
  readonly license: string | null;
  readonly triggerPhrase: string | null;
  /** Program and version, such as `sdl-train/0.1.0`. */
  readonly software: string;
}

/** When a file of a run is written. */
export interface SavePoint {
  /** Optimizer steps done. */
  readonly steps: number;
  /** Epochs begun, from 1. */
  readonly epoch: number;
  /** Unix time in seconds. */
  readonly finishedAt: number;
}

/**
 * Bytes of the header for metadata. ComfyUI reads headers up to 1 MiB, and the tensors of the
 * largest adapter (SDXL, every module of U-Net and text encoders) take 462 KiB.
 */
const maxMetadataBytes = 512 * 1024;

const baseModelVersion = {
  sd1: { epsilon: 'sd_v1', v_prediction: 'sd_v1_v' },
  sd2: { epsilon: 'sd_v2', v_prediction: 'sd_v2_v' },
  sdxl: { epsilon: 'sdxl_base_v1-0', v_prediction: 'sdxl_base_v1-0' },
} as const;

const architecture = {
  sd1: { epsilon: 'stable-diffusion-v1/lora', v_prediction: 'stable-diffusion-v1/lora' },
  sd2: {
    epsilon: 'stable-diffusion-v2-512/lora',
    v_prediction: 'stable-diffusion-v2-768-v/lora',
  },
  sdxl: {
    epsilon: 'stable-diffusion-xl-v1-base/lora',
    v_prediction: 'stable-diffusion-xl-v1-base/lora',
  },
} as const;

const implementation = {
  sd1: 'diffusers',
  sd2: 'diffusers',
  sdxl: 'https://github.com/Stability-AI/generative-models',
} as const;

type Field = readonly [string, string | number | boolean | null | PyFloat];

const float = (value: number | null) => (value === null ? null : new PyFloat(value));

function runFields(run: RunDescription): Field[] {
  const { folders } = run.dataset;
  const imagesWithRepeats = (regularization: boolean) =>
    folders
      .filter((folder) => folder.regularization === regularization)
      .reduce((n, { images, repeats }) => n + images * repeats, 0);
  return [
    ['ss_session_id', run.sessionId],
    ['ss_training_started_at', float(run.startedAt)],
    ['ss_output_name', run.outputName],
    ['ss_learning_rate', float(run.learningRate)],
    ['ss_text_encoder_lr', float(run.textEncoderLearningRate)],
    ['ss_unet_lr', float(run.unetLearningRate)],
    ['ss_num_train_images', imagesWithRepeats(false)],
    ['ss_num_reg_images', imagesWithRepeats(true)],
    ['ss_num_batches_per_epoch', run.batchesPerEpoch],
    ['ss_num_epochs', run.epochs],
    ['ss_gradient_checkpointing', run.gradientCheckpointing],
    ['ss_gradient_accumulation_steps', run.gradientAccumulationSteps],
    ['ss_max_train_steps', run.maxSteps],
    ['ss_lr_warmup_steps', run.warmupSteps],
    ['ss_lr_scheduler', run.lrScheduler],
    ['ss_network_module', 'networks.lora'],
    ['ss_network_dim', run.rank],
    ['ss_network_alpha', float(run.alpha)],
    ['ss_network_dropout', float(run.networkDropout)],
    ['ss_mixed_precision', run.mixedPrecision],
    ['ss_full_fp16', false],
    ['ss_v2', run.family === 'sd2'],
    ['ss_base_model_version', baseModelVersion[run.family][run.predictionType]],
    ['ss_clip_skip', run.clipSkip],
    ['ss_max_token_length', run.maxTokenLength],
    ['ss_cache_latents', run.cacheLatents],
    ['ss_seed', run.seed],
    ['ss_lowram', false],
    ['ss_noise_offset', float(run.noiseOffset)],
    ['ss_multires_noise_iterations', null],
    ['ss_adaptive_noise_scale', null],
    ['ss_zero_terminal_snr', run.zeroTerminalSnr],
    ['ss_training_comment', run.comment],
    ['ss_optimizer', run.optimizer],
    ['ss_max_grad_norm', float(run.maxGradNorm)],
    ['ss_caption_dropout_rate', float(run.dataset.captionDropoutRate)],
    ['ss_caption_dropout_every_n_epochs', 0],
    ['ss_caption_tag_dropout_rate', float(run.dataset.tagDropoutRate)],
    ['ss_face_crop_aug_range', null],
    ['ss_prior_loss_weight', float(run.priorLossWeight)],
    ['ss_min_snr_gamma', float(run.minSnrGamma)],
    ['ss_scale_weight_norms', null],
    ['ss_ip_noise_gamma', null],
    ['ss_debiased_estimation', run.debiasedEstimation],
    ['ss_loss_type', 'l2'],
    ['ss_fp8_base', false],
  ];
}

function dirs(folders: readonly DatasetFolder[], regularization: boolean): PyJson {
  return new Map(
    mergeByName(folders.filter((folder) => folder.regularization === regularization)).map(
      ({ name, repeats, images }) => [name, { n_repeats: repeats, img_count: images }],
    ),
  );
}

/** Folders of one name, at different places, become one: images add up, tags too. */
function mergeByName(folders: readonly DatasetFolder[]): DatasetFolder[] {
  const merged = new Map<string, DatasetFolder>();
  for (const folder of folders) {
    const before = merged.get(folder.name);
    const tags = new Map(before?.tags);
    for (const [tag, count] of folder.tags) tags.set(tag, (tags.get(tag) ?? 0) + count);
    const images = (before?.images ?? 0) + folder.images;
    merged.set(folder.name, { ...folder, images, tags });
  }
  return [...merged.values()];
}

function datasetFields({ dataset }: RunDescription): Field[] {
  const [width, height] = dataset.resolution;
  const buckets = new Map<string, PyJson>(
    dataset.buckets.map((bucket, i) => [
      String(i),
      { resolution: [bucket.width, bucket.height], count: bucket.count },
    ]),
  );
  return [
    ['ss_dataset_dirs', pyJson(dirs(dataset.folders, false))],
    ['ss_reg_dataset_dirs', pyJson(dirs(dataset.folders, true))],
    [
      'ss_bucket_info',
      pyJson({ buckets, mean_img_ar_error: new PyFloat(dataset.meanAspectError) }),
    ],
    ['ss_resolution', `(${width}, ${height})`],
    ['ss_batch_size_per_device', dataset.batchSize],
    ['ss_total_batch_size', dataset.batchSize],
    ['ss_color_aug', false],
    ['ss_flip_aug', dataset.flip],
    ['ss_random_crop', dataset.randomCrop],
    ['ss_shuffle_caption', dataset.shuffleCaption],
    ['ss_enable_bucket', dataset.enableBucket],
    ['ss_bucket_no_upscale', dataset.bucketNoUpscale],
    ['ss_min_bucket_reso', dataset.minBucketSize],
    ['ss_max_bucket_reso', dataset.maxBucketSize],
    ['ss_keep_tokens', dataset.keepTokens],
  ];
}

/** A field for each value that is there. */
function present(...fields: readonly (readonly [string, string | null | undefined])[]): Field[] {
  return fields.flatMap(([key, value]) => (value ? [[key, value] as const] : []));
}

function sourceFields({ baseModel, vae, networkArgs }: RunDescription): Field[] {
  return present(
    ['ss_network_args', Object.keys(networkArgs).length > 0 ? pyJson(networkArgs) : null],
    ['ss_sd_model_name', baseModel.name],
    ['ss_sd_model_hash', baseModel.legacyHash],
    ['ss_new_sd_model_hash', baseModel.sha256],
    ['ss_vae_name', vae?.name],
    ['ss_vae_hash', vae?.legacyHash],
    ['ss_new_vae_hash', vae?.sha256],
  );
}

/** `YYYY-MM-DDTHH:MM:SS`, local time, without a zone. */
function isoLocal(unixSeconds: number): string {
  const date = new Date(unixSeconds * 1000);
  const two = (n: number) => String(n).padStart(2, '0');
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
  return `${day}T${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')}`;
}

/** The ModelSpec fields (github.com/Stability-AI/ModelSpec, 1.0.0). */
function modelSpecFields(run: RunDescription, finishedAt: number): Field[] {
  return present(
    ['modelspec.sai_model_spec', '1.0.0'],
    ['modelspec.architecture', architecture[run.family][run.predictionType]],
    ['modelspec.implementation', implementation[run.family]],
    ['modelspec.title', run.title || run.outputName],
    ['modelspec.resolution', run.dataset.resolution.join('x')],
    ['modelspec.description', run.description],
    ['modelspec.author', run.author],
    ['modelspec.date', isoLocal(finishedAt)],
    ['modelspec.license', run.license],
    ['modelspec.trigger_phrase', run.triggerPhrase],
    ['modelspec.prediction_type', run.predictionType === 'epsilon' ? 'epsilon' : 'v'],
    ['modelspec.encoder_layer', run.clipSkip === null ? null : String(run.clipSkip)],
    ['modelspec.implementation_version', run.software],
  );
}

/**
 * The metadata of a file of a run, in kohya's order, for `writeAdapter`, which adds the hashes.
 * The same arguments give the same bytes. Rare tags are left out where the table gets too large.
 */
export function kohyaMetadata(run: RunDescription, saved: SavePoint): Metadata {
  const before = runFields(run);
  const after: Field[] = [
    ...datasetFields(run),
    ...sourceFields(run),
    ['ss_training_finished_at', pyFloat(saved.finishedAt)],
    ['ss_steps', saved.steps],
    ['ss_epoch', saved.epoch],
    ...modelSpecFields(run, saved.finishedAt),
  ];
  const texts = (fields: readonly Field[]) =>
    fields.map(([key, value]): [string, string] => [key, pyStr(value)]);
  const used = Buffer.byteLength(JSON.stringify([...texts(before), ...texts(after)]));
  const tags: TagFrequency = new Map(
    mergeByName(run.dataset.folders).map((folder) => [folder.name, folder.tags]),
  );
  const kept = capTagFrequency(tags, Math.max(maxMetadataBytes - used, 0));
  return new Map([...texts(before), ['ss_tag_frequency', pyJson(kept)], ...texts(after)]);
}
