/** @file What `check` finds out about the captions: their tokens, and what of them will be cut. */

import { withTriggerWord } from '../../data/caption.ts';
import type { Sample } from '../../data/scan-folder.ts';
import { type ClipTokenizer, clipChunkTokens } from '../../models/clip-tokenizer.ts';

/** The caption of one image as it is trained, without shuffling and dropout. */
export interface CaptionUse {
  readonly path: string;
  readonly text: string;
  readonly tokens: number;
  /** Parts of 75 tokens that the text encoder reads. */
  readonly chunks: number;
  readonly cutText: string | null;
}

/** Facts about all captions. */
export interface CaptionReport {
  /** The longest first. */
  readonly uses: readonly CaptionUse[];
  /** Captions that read alike, and on how many images: many of them teach little. */
  readonly repeated: readonly (readonly [text: string, images: number])[];
  /** Most parts of 75 tokens that a caption has, 1 or more. */
  readonly chunks: number;
}

/** Counts tokens. `maxTokens` is where training cuts. */
export function checkCaptions(
  samples: readonly Sample[],
  tokenizer: ClipTokenizer,
  {
    maxTokens,
    captionSeparator,
    emphasis,
  }: {
    readonly maxTokens: number;
    readonly captionSeparator: string;
    readonly emphasis: boolean;
  },
): CaptionReport {
  const images = new Map<string, number>();
  const uses = samples.map(({ path, caption, triggerWord }): CaptionUse => {
    const text = withTriggerWord(caption, triggerWord, captionSeparator);
    images.set(text, (images.get(text) ?? 0) + 1);
    const { tokens, chunks, cutText } = tokenizer.chunk(text, { maxTokens, emphasis });
    return { path, text, tokens, chunks, cutText };
  });
  return {
    uses: uses.sort((a, b) => b.tokens - a.tokens),
    repeated: [...images].filter(([, n]) => n > 1).sort((a, b) => b[1] - a[1]),
    chunks: Math.max(1, ...uses.map((use) => use.chunks)),
  };
}

/** `31 tokens` of the 75 that one part holds, or `90 tokens in 2 parts`. */
export function tokensText({ tokens, chunks }: CaptionUse): string {
  return tokens > clipChunkTokens ? `${tokens} tokens in ${chunks} parts` : `${tokens} tokens`;
}
