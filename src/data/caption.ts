/** @file Makes the text of one visit of a sample: trigger word, tag shuffle, dropout. */

import { Rng } from '../tensor/rng.ts';
import { bareTag, splitTags } from './split-tags.ts';

/** How captions vary from visit to visit. */
export interface CaptionOptions {
  /** Shuffle the tags after the first `keepTokens`. */
  readonly shuffleTags: boolean;
  /** Tags that stay in front, the trigger word included. */
  readonly keepTokens: number;
  /** Between tags, such as `,`. */
  readonly captionSeparator: string;
  /** Whether brackets are weights of words: what is in them stays together. */
  readonly emphasis: boolean;
  /** Probability of an empty caption instead, 0 to 1. */
  readonly captionDropout: number;
  /** So many shuffles of each caption, one of which each visit takes; null: each visit has its own. */
  readonly variants: number | null;
}

/** Keys of the draws of one visit, as `BatchItem` has them. */
export interface Visit {
  readonly epoch: number;
  /** Of the visit within the epoch. */
  readonly position: number;
  /** Index of the sample. */
  readonly sample: number;
}

/** What of a sample its captions are made from. */
export interface CaptionSource {
  readonly caption: string;
  readonly triggerWord: string | null;
}

/** Whether `caption` has `triggerWord` as whole words; the text encoder reads all in lower case. */
export function hasTriggerWord(caption: string, triggerWord: string): boolean {
  const escaped = triggerWord.trim().replace(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`);
  return new RegExp(`(?<![\\p{L}\\p{N}_])${escaped}(?![\\p{L}\\p{N}_])`, 'iu').test(caption);
}

/** What tags are joined with: the separator, and a blank where it is not one itself. */
function joiner(separator: string): string {
  return separator.trim() === '' ? separator : `${separator.trim()} `;
}

/** The caption with the trigger word in front, unless it has it already. */
export function withTriggerWord(
  caption: string,
  triggerWord: string | null,
  captionSeparator = ',',
): string {
  if (triggerWord === null || triggerWord.trim() === '') return caption;
  if (hasTriggerWord(caption, triggerWord)) return caption;
  return caption === '' ? triggerWord : triggerWord + joiner(captionSeparator) + caption;
}

/** The caption with its trigger word, and its tags shuffled by `rng`. */
function shuffledCaption(
  { caption, triggerWord }: CaptionSource,
  { keepTokens, captionSeparator, emphasis }: CaptionOptions,
  rng: Rng,
): string {
  const whole = withTriggerWord(caption, triggerWord, captionSeparator);
  const tags = splitTags(whole, captionSeparator, emphasis);
  const trigger = splitTags(triggerWord ?? '', captionSeparator, emphasis);
  const readAlike = (tag: string, other = '') =>
    (emphasis ? bareTag(tag) : tag).toLowerCase() ===
    (emphasis ? bareTag(other) : other).toLowerCase();
  const leads = trigger.every((tag, i) => readAlike(tag, tags[i]));
  const kept = Math.max(keepTokens, leads ? trigger.length : 0);
  const shuffled = rng.shuffled(tags.slice(kept));
  return [...tags.slice(0, kept), ...shuffled].join(joiner(captionSeparator));
}

/** The draws of one of a sample's shuffles, the same in every epoch. */
const variantRng = (seed: number, sample: number, variant: number) =>
  new Rng(seed, 'caption-variant', sample, variant);

/**
 * The text that a sample is trained with at one visit; it depends on nothing but the arguments.
 * @returns '' where the caption is dropped.
 */
export function composeCaption(
  source: CaptionSource,
  options: CaptionOptions,
  seed: number,
  { epoch, position, sample }: Visit,
): string {
  const { shuffleTags, captionSeparator, captionDropout, variants } = options;
  const draws = (purpose: string) => new Rng(seed, purpose, epoch, position);
  if (captionDropout > 0 && draws('caption-dropout').uniform() < captionDropout) return '';
  if (!shuffleTags) return withTriggerWord(source.caption, source.triggerWord, captionSeparator);
  if (variants === null) return shuffledCaption(source, options, draws('caption-shuffle'));
  const variant = draws('caption-choice').integer(variants);
  return shuffledCaption(source, options, variantRng(seed, sample, variant));
}

/** Every text that `composeCaption` can give for a sample, where `variants` are counted. */
export function captionVariants(
  source: CaptionSource,
  options: CaptionOptions,
  seed: number,
  sample: number,
): string[] {
  const { shuffleTags, captionSeparator, captionDropout, variants } = options;
  const texts = shuffleTags
    ? Array.from({ length: variants ?? 0 }, (_, variant) =>
        shuffledCaption(source, options, variantRng(seed, sample, variant)),
      )
    : [withTriggerWord(source.caption, source.triggerWord, captionSeparator)];
  return [...new Set(captionDropout > 0 ? [...texts, ''] : texts)];
}
