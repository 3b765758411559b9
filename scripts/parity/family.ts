/** @file One family's folder of golden numbers, and the SD 1.x model in it. */

import { join } from 'node:path';
import { openSd1Checkpoint, type Sd1Checkpoint } from '../../src/models/sd1/checkpoint.ts';
import type { PredictionType } from '../../src/train/noise-schedule.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import { type GoldenFile, openGolden, readJson } from './golden-file.ts';

/** What index.json says of a golden file, as far as it is needed here. */
interface GoldenIndex {
  readonly keys_without_gradient?: readonly string[];
  readonly structurally_zero_gradient?: readonly string[];
  /** Deviation of PyTorch's own f32 run after training: largest, 99.9th percentile, mean. */
  readonly fp32_dev_max?: number;
  readonly fp32_dev_p999?: number;
  readonly fp32_dev_mean?: number;
}

interface IndexFile {
  readonly family: string;
  readonly files: Readonly<Record<string, GoldenIndex>>;
}

interface TinyConfig {
  readonly prediction_type: PredictionType;
  readonly unet: { readonly attention_head_dim: number | readonly number[] };
  readonly vae: { readonly scaling_factor: number };
  readonly text_encoders: readonly { readonly num_attention_heads: number }[];
}

/** Sizes that tensors do not tell. */
interface FamilyConfig {
  readonly predictionType: PredictionType;
  readonly unetHeads: number;
  readonly textHeads: number;
  readonly latentScale: number;
}

/** An opened folder. */
export interface Family {
  readonly name: string;
  readonly folder: string;
  readonly config: FamilyConfig;
  readonly checkpoint: Sd1Checkpoint;
  index(file: string): GoldenIndex;
  /** @throws UserError where the file is missing */
  golden(file: string): Promise<GoldenFile>;
  close(): void;
}

/** The family's name and its golden files, without opening the model. */
export async function readFamilyIndex(folder: string): Promise<IndexFile> {
  return readJson<IndexFile>(join(folder, 'index.json'));
}

/** @throws UserError where a file is missing or is not what it should be */
export async function openFamily(folder: string): Promise<Family> {
  const { family, files } = await readFamilyIndex(folder);
  const tiny = await readJson<TinyConfig>(join(folder, 'tiny_config.json'));
  const file = await openSafetensors(join(folder, 'model.safetensors'));
  const heads = tiny.unet.attention_head_dim;
  return {
    name: family,
    folder,
    config: {
      predictionType: tiny.prediction_type,
      unetHeads: typeof heads === 'number' ? heads : heads[0]!,
      textHeads: tiny.text_encoders[0]!.num_attention_heads,
      latentScale: tiny.vae.scaling_factor,
    },
    checkpoint: openSd1Checkpoint(file),
    index: (name) => files[name] ?? {},
    golden: (name) => openGolden(join(folder, name)),
    close: () => file.close(),
  };
}
