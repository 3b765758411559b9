/** @file Makes the text of one visit of a sample: trigger word, tag shuffle, dropout. */

import { Rng } from '../tensor/rng.ts';

/** How captions vary from visit to visit. */
export interface CaptionOptions {
  /** Shuffle the tags after the first `keepTokens`. */
  readonly shuffleTags: boolean;
  /** Tags that stay in front, the trigger word included. */
  readonly keepTokens: number;
  /** Between tags, such as `,`. */
  readonly captionSeparator: string;
  /** Probability of an empty caption instead, 0 to 1. */
  readonly captionDropout: number;
}

/** Keys of the draws of one visit, as `BatchItem` has them. */
export interface Visit {
  readonly epoch: number;
  /** Of the visit within the epoch. */
  readonly position: number;
}

/** Whether `caption` has `triggerWord` as whole words; the text encoder reads all in lower case. */
export function hasTriggerWord(caption: string, triggerWord: string): boolean {
  const escaped = triggerWord.trim().replace(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`);
  return new RegExp(`(?<![\\p{L}\\p{N}_])${escaped}(?![\\p{L}\\p{N}_])`, 'iu').test(caption);
}

const tagsOf = (text: string, separator: string) =>
  text
    .split(separator)
    .map((tag) => tag.trim())
    .filter((tag) => tag !== '');

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

/**
 * The text that a sample is trained with at one visit; it depends on nothing but the arguments.
 * @returns '' where the caption is dropped.
 */
export function composeCaption(
  sample: { readonly caption: string; readonly triggerWord: string | null },
  options: CaptionOptions,
  seed: number,
  visit: Visit,
): string {
  const { shuffleTags, keepTokens, captionSeparator, captionDropout } = options;
  const draws = (purpose: string) => new Rng(seed, purpose, visit.epoch, visit.position);
  if (captionDropout > 0 && draws('caption-dropout').uniform() < captionDropout) return '';
  const caption = withTriggerWord(sample.caption, sample.triggerWord, captionSeparator);
  if (!shuffleTags) return caption;
  const tags = tagsOf(caption, captionSeparator);
  const trigger = tagsOf(sample.triggerWord ?? '', captionSeparator);
  const leads = trigger.every((tag, i) => tag.toLowerCase() === tags[i]?.toLowerCase());
  const kept = Math.max(keepTokens, leads ? trigger.length : 0);
  const shuffled = draws('caption-shuffle').shuffled(tags.slice(kept));
  return [...tags.slice(0, kept), ...shuffled].join(joiner(captionSeparator));
}
