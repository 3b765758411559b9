/** @file Metadata as people read it: the fields that matter in words, or all of them in full. */

import type { FileDescription } from './describe-file.ts';

/** No character that could move the cursor or change colours: a file's text is anybody's. */
export function plainText(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, ' ');
}

/** Fields of kohya's tools, of ModelSpec and of our states, and how they are called here. */
const names: readonly (readonly [key: string, name: string])[] = [
  ['modelspec.title', 'title'],
  ['modelspec.description', 'description'],
  ['modelspec.author', 'author'],
  ['modelspec.license', 'license'],
  ['modelspec.date', 'date'],
  ['modelspec.trigger_phrase', 'trigger word'],
  ['ss_sd_model_name', 'base model'],
  ['ss_vae_name', 'VAE'],
  ['ss_training_comment', 'comment'],
  ['ss_resolution', 'resolution'],
  ['ss_num_train_images', 'images with repeats'],
  ['ss_num_reg_images', 'prior images'],
  ['ss_steps', 'steps'],
  ['ss_epoch', 'epoch'],
  ['ss_total_batch_size', 'batch size'],
  ['ss_learning_rate', 'learning rate'],
  ['ss_unet_lr', 'UNet learning rate'],
  ['ss_text_encoder_lr', 'text encoder learning rate'],
  ['ss_lr_scheduler', 'schedule'],
  ['ss_optimizer', 'optimizer'],
  ['ss_clip_skip', 'clip skip'],
  ['ss_min_snr_gamma', 'min-SNR gamma'],
  ['ss_noise_offset', 'noise offset'],
  ['ss_seed', 'seed'],
  ['modelspec.implementation_version', 'made by'],
  ['step', 'step'],
];

const empty = new Set(['', 'None', 'null', '0 (None)']);
const longest = 200;

function shortened(text: string): string {
  const plain = plainText(text);
  return plain.length > longest ? `${plain.slice(0, longest - 1)}…` : plain;
}

/** The fields that say how a file came to be, named in words. */
export function metadataFacts({ metadata, kind }: FileDescription): [string, string][] {
  return names.flatMap(([key, name]): [string, string][] => {
    const value = metadata[key];
    if (value === undefined || empty.has(value)) return [];
    if (key === 'step' && kind !== 'state') return [];
    return [[name, shortened(value)]];
  });
}

function parsed(text: string | undefined): unknown {
  try {
    return text === undefined ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** `10_zibbo: 12 images, 10 times each` for each folder. */
export function datasetFolders({ metadata }: FileDescription): string[] {
  const { ss_dataset_dirs: text } = metadata;
  const folders = parsed(text);
  if (!isRecord(folders)) return [];
  return Object.entries(folders).flatMap(([name, value]) => {
    if (!isRecord(value)) return [];
    const { img_count: images, n_repeats: repeats } = value;
    return [`${plainText(name)}: ${Number(images)} images, ${Number(repeats)} times each`];
  });
}

/** The tags of the captions with how often they are there, the most frequent first. */
export function topTags({ metadata }: FileDescription, most = 15): [string, number][] {
  const { ss_tag_frequency: text } = metadata;
  const folders = parsed(text);
  if (!isRecord(folders)) return [];
  const counts = new Map<string, number>();
  for (const tags of Object.values(folders)) {
    if (!isRecord(tags)) continue;
    for (const [tag, count] of Object.entries(tags)) {
      const name = plainText(tag.trim());
      if (typeof count === 'number') counts.set(name, (counts.get(name) ?? 0) + count);
    }
  }
  return [...counts].sort((a, b) => b[1] - a[1]).slice(0, most);
}

/** All metadata in full, JSON in it laid out. */
export function fullMetadata({ metadata }: FileDescription): string[] {
  return Object.entries(metadata).map(([key, value]) => {
    const json = parsed(value);
    const laidOut =
      typeof json === 'object' && json !== null ? JSON.stringify(json, null, 2) : value;
    const lines = laidOut.split('\n').map(plainText);
    return `${plainText(key)}: ${lines.join('\n  ')}`;
  });
}
