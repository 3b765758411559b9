/** @file CLIP's tokenizer: captions into ids, in chunks of the text encoder's 77 positions. */

import { Tokenizer } from '@huggingface/tokenizers';
import { readEmphasis, withoutEmphasis } from './emphasis.ts';
import { cleanCaption } from './tokenizer-cleanup.ts';
import { loadClipVocabulary } from './tokenizer-vocabulary.ts';

/** Id that opens every chunk (`<|startoftext|>`). */
export const clipBos = 49406;
/** Id that closes every chunk, and fills it up for SD 1.x (`<|endoftext|>`). */
export const clipEos = 49407;
/** Positions of the text encoder. */
export const clipPositions = 77;
/** Tokens of a caption in one chunk: the positions without the opening and the closing id. */
export const clipChunkTokens = 75;

/** How a caption is cut and filled up. */
interface ChunkOptions {
  /** Tokens that are kept, a multiple of 75; 75 unless told. */
  readonly maxTokens?: number;
  /** Chunks to return at least, the rest being empty ones, so that a batch has one shape; 1 unless told. */
  readonly minChunks?: number;
  /** Reads the weights of `(word:1.3)`; false unless told. */
  readonly emphasis?: boolean;
  /** Fills a chunk after its closing id: 49407 (SD 1.x) unless told, 0 for OpenCLIP. */
  readonly pad?: number;
  /** Opens a chunk; 49406 unless told. */
  readonly bos?: number;
  /** Closes a chunk; 49407 unless told. */
  readonly eos?: number;
}

/** A caption as the text encoder takes it. */
interface ChunkedCaption {
  /** Token ids, i32[chunks * 77]. */
  readonly ids: Int32Array;
  /** Of each id, f32[chunks * 77]: 1 but for what a caption emphasizes. */
  readonly weights: Float32Array;
  /** Chunks in `ids`. */
  readonly chunks: number;
  /** Tokens of the whole caption, before anything was cut. */
  readonly tokens: number;
  /** The end of the caption that had no place, or null. */
  readonly cutText: string | null;
}

/** Turns captions into ids. */
export interface ClipTokenizer {
  /** Ids of a text, without opening and closing id. */
  encode(text: string): number[];
  /** The text of ids, in lower case; ids outside of the vocabulary are left out. */
  decode(ids: readonly number[]): string;
  /**
   * Splits a caption in chunks of 75 tokens, each between an opening and a closing id and filled up
   * to 77, as kohya's tools and the web UI do.
   */
  chunk(text: string, options?: ChunkOptions): ChunkedCaption;
}

/** The text of `clean` from the place on that `kept`, what the tokens say, reaches. */
function textBeyond(clean: string, kept: string): string {
  // Tokens remember neither case nor spaces, so that the place is counted in visible characters.
  let left = [...kept.replace(/[\s\ufffd]/g, '')].length;
  let at = 0;
  for (const character of clean) {
    if (left <= 0) break;
    at += character.length;
    if (character.trim() !== '') left -= [...character.toLowerCase()].length;
  }
  return clean.slice(at).trim();
}

/** `tokenizer.json` and its configuration for the vocabulary, as CLIP's fast tokenizer has them. */
function buildTokenizer(): Tokenizer {
  const { vocab, merges } = loadClipVocabulary();
  const marker = (id: number, content: string) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  const words = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";
  return new Tokenizer(
    {
      version: '1.0',
      added_tokens: [marker(clipBos, '<|startoftext|>'), marker(clipEos, '<|endoftext|>')],
      normalizer: { type: 'Lowercase' },
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [
          { type: 'Split', pattern: { Regex: words }, behavior: 'Removed', invert: true },
          { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
        ],
      },
      post_processor: null,
      decoder: { type: 'ByteLevel' },
      model: {
        type: 'BPE',
        unk_token: '<|endoftext|>',
        end_of_word_suffix: '</w>',
        vocab,
        merges,
        ignore_merges: false,
      },
    },
    { tokenizer_class: 'CLIPTokenizer', clean_up_tokenization_spaces: false },
  );
}

/** CLIP's tokenizer with its vocabulary: works offline and takes about half a second to build. */
export function createClipTokenizer(): ClipTokenizer {
  const tokenizer = buildTokenizer();
  const encodeClean = (clean: string) => tokenizer.encode(clean, { add_special_tokens: false }).ids;
  const decode = (ids: readonly number[]) =>
    ids.length === 0 ? '' : tokenizer.decode([...ids]).trim();

  return {
    encode: (text) => encodeClean(cleanCaption(text)),
    decode,
    chunk(text, options = {}) {
      const { maxTokens = clipChunkTokens, minChunks = 1, emphasis = false } = options;
      const { pad = clipEos, bos = clipBos, eos = clipEos } = options;
      if (maxTokens < clipChunkTokens || maxTokens % clipChunkTokens !== 0) {
        throw new Error(`internal: maxTokens ${maxTokens} is no multiple of ${clipChunkTokens}`);
      }
      const texts = emphasis ? readEmphasis(text) : [{ text, weight: 1 }];
      const clean = cleanCaption(emphasis ? withoutEmphasis(text) : text);
      // Each stretch on its own, so that no token has two weights.
      const encoded = texts.map((part) => ({ ...part, ids: encodeClean(cleanCaption(part.text)) }));
      const all = encoded.flatMap(({ ids }) => ids);
      const allWeights = encoded.flatMap(({ ids, weight }) => ids.map(() => weight));
      const kept = all.slice(0, maxTokens);
      const chunks = Math.max(1, minChunks, Math.ceil(kept.length / clipChunkTokens));
      const ids = new Int32Array(chunks * clipPositions).fill(pad);
      const weights = new Float32Array(ids.length).fill(1);
      for (let chunk = 0; chunk < chunks; chunk++) {
        const [from, to] = [chunk * clipChunkTokens, (chunk + 1) * clipChunkTokens];
        ids.set([bos, ...kept.slice(from, to), eos], chunk * clipPositions);
        weights.set(allWeights.slice(from, Math.min(to, kept.length)), chunk * clipPositions + 1);
      }
      const cutText = all.length > maxTokens ? textBeyond(clean, decode(kept)) : null;
      return { ids, weights, chunks, tokens: all.length, cutText };
    },
  };
}
