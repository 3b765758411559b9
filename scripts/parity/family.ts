/** @file One family's folder of golden numbers, and the model in it. */

import { join } from 'node:path';
import type { Checkpoint } from '../../src/models/checkpoint.ts';
import type { NetworkModel } from '../../src/models/networks.ts';
import { openCheckpoint } from '../../src/models/single-file.ts';
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

/** What tensors do not tell. */
interface FamilyConfig {
  readonly predictionType: PredictionType;
  readonly latentScale: number;
}

/** An opened folder. */
export interface Family {
  readonly name: string;
  readonly folder: string;
  readonly config: FamilyConfig;
  readonly checkpoint: Checkpoint;
  /** The checkpoint's networks with the folder's counts of heads. */
  readonly model: NetworkModel;
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
  const checkpoint = openCheckpoint(file);
  const { attention_head_dim: heads } = tiny.unet;
  return {
    name: family,
    folder,
    config: {
      predictionType: tiny.prediction_type,
      latentScale: tiny.vae.scaling_factor,
    },
    checkpoint,
    model: {
      family: checkpoint.family,
      shapes: checkpoint.shapes,
      heads: {
        unet: (_, level) => (typeof heads === 'number' ? heads : heads[level]!),
        text: tiny.text_encoders.map((encoder) => encoder.num_attention_heads),
      },
    },
    index: (name) => files[name] ?? {},
    golden: (name) => openGolden(join(folder, name)),
    close: () => file.close(),
  };
}
