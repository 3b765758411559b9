/** @file Where the texts of frozen text encoders are kept, and by which name. */

import { TensorCache } from '../data/tensor-cache.ts';
import type { Base } from './open-base.ts';
import type { TextStore } from './text-encoding.ts';

/** The store of a base in a run's cache folder; other weights or another layer are other entries. */
export function textStore(
  cacheDir: string,
  { checkpoint: { family, heads }, textKey }: Pick<Base, 'checkpoint' | 'textKey'>,
  clipSkip: number,
): TextStore {
  const key = `${family.id} ${textKey} layer ${clipSkip} heads ${heads?.text ?? 'usual'}`;
  return { cache: new TensorCache(cacheDir, '.text'), key };
}
