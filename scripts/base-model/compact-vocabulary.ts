/** @file The tokens that captions of scenes are made of: only their embeddings are trained. */

import { clipBos, clipEos, createClipTokenizer } from '../../src/models/clip-tokenizer.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { captionOf, sampleScene } from '../drawing/scene.ts';

/** Captions that are looked through; far more than there are sentences of different words. */
const sampledCaptions = 20_000;

export interface CompactVocabulary {
  /** CLIP's ids, in the order of the rows of the compact table. */
  readonly ids: readonly number[];
  /** Rows of the compact table for a caption, i32 [77]. */
  rows(caption: string): Int32Array;
}

/** The vocabulary of the grammar's captions. */
export function compactVocabulary(seed: number): CompactVocabulary {
  const tokenizer = createClipTokenizer();
  const words = new Set<number>();
  for (let i = 0; i < sampledCaptions; i++) {
    const rng = new Rng(seed, 'vocabulary', 0, i);
    for (const id of tokenizer.encode(captionOf(sampleScene(rng), rng))) words.add(id);
  }
  const ids = [...words].sort((a, b) => a - b).concat(clipBos, clipEos);
  const rowOf = new Map(ids.map((id, row) => [id, row]));
  return {
    ids,
    rows: (caption) => tokenizer.chunk(caption).ids.map((id) => rowOf.get(id)!),
  };
}
