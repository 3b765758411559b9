/** @file Captions as a step's graph takes them: ids to be encoded in it, or finished contexts. */

import type { TensorCache } from '../data/tensor-cache.ts';
import { GraphBuilder } from '../graph/graph-builder.ts';
import { type ClipTokenizer, clipEos, clipPositions } from '../models/clip-tokenizer.ts';
import type { ModelFamily } from '../models/model-family.ts';
import {
  encodedText,
  endRowsOf,
  idsInput,
  type NetworkModel,
  textOutputs,
} from '../models/networks.ts';
import type { Executable, Executor, Values } from '../runtime/executor.ts';
import { f32, i32, type Tensor } from '../tensor/tensor.ts';

export interface TextOptions {
  readonly tokenizer: ClipTokenizer;
  readonly maxTokens: number;
  readonly clipSkip: number;
  /** Whether captions weigh their words, as `(word:1.3)` does in web UIs; false unless given. */
  readonly emphasis?: boolean;
}

/** How captions become tokens. */
type TokenOptions = Pick<TextOptions, 'tokenizer' | 'maxTokens' | 'emphasis'>;

/**
 * The ids and weights of captions, [n, chunks, 77], all with as many chunks as the longest needs.
 * @param pad fills a chunk up after its end; CLIP's end unless given
 */
function tokens(
  captions: readonly string[],
  { tokenizer, maxTokens, emphasis = false }: TokenOptions,
  pad: number = clipEos,
) {
  const options = { maxTokens, emphasis, pad };
  const needed = captions.map((caption) => tokenizer.chunk(caption, options).chunks);
  const minChunks = Math.max(...needed);
  const shape = [captions.length, minChunks, clipPositions];
  const ids = i32(shape, new Int32Array(captions.length * minChunks * clipPositions));
  const weights = f32(shape);
  for (const [i, caption] of captions.entries()) {
    const chunked = tokenizer.chunk(caption, { ...options, minChunks });
    ids.data.set(chunked.ids, i * minChunks * clipPositions);
    weights.data.set(chunked.weights, i * minChunks * clipPositions);
  }
  return { ids, weights };
}

/** The ids of captions, i32 [n, chunks, 77]. */
export function tokenizeBatch(
  captions: readonly string[],
  options: TokenOptions,
  pad?: number,
): Tensor<'i32'> {
  return tokens(captions, options, pad).ids;
}

/** Whether any of the tokens weighs other than the others. */
export const areWeighed = ({ tokenWeights }: Values): boolean =>
  tokenWeights?.data.some((weight) => weight !== 1) ?? false;

/**
 * What `encodedText` is fed: `ids` of every text encoder, where captions end, and with emphasis what
 * tokens weigh.
 */
export function tokenFeeds(
  { textEncoders, pooledFrom }: ModelFamily,
  captions: readonly string[],
  options: TokenOptions,
): Record<string, Tensor<'i32' | 'f32'>> {
  const feeds: Record<string, Tensor<'i32' | 'f32'>> = {};
  for (const { network, pad } of textEncoders) {
    const { ids, weights } = tokens(captions, options, pad);
    feeds[idsInput(network)] = ids;
    if (network === pooledFrom) feeds['endRows'] = endRowsOf(ids);
    if (options.emphasis) feeds['tokenWeights'] = weights;
  }
  return feeds;
}

/** Encoded chunks held at once; one of 77 tokens by 2048 channels takes 631 KB. */
const heldChunks = 512;

/** One chunk of 77 tokens, encoded. */
interface EncodedChunk {
  /** [77, d]. */
  readonly context: Float32Array;
  /** [p]; empty where the family has none. */
  readonly pooled: Float32Array;
}

/** Where encoded chunks are kept on disk. */
export interface TextStore {
  readonly cache: TensorCache;
  /** Identifies the text encoders' weights and how they are read. */
  readonly key: string;
}

/** Puts the chunks of a caption together as `joinChunks` does. */
function joined(chunks: readonly EncodedChunk[]): Float32Array {
  const [first] = chunks;
  if (chunks.length === 1) return first!.context;
  const width = first!.context.length / clipPositions;
  const inner = clipPositions - 2;
  const out = new Float32Array((2 + inner * chunks.length) * width);
  out.set(first!.context.subarray(0, width));
  for (const [i, { context }] of chunks.entries()) {
    out.set(context.subarray(width, (clipPositions - 1) * width), (1 + i * inner) * width);
  }
  out.set(chunks.at(-1)!.context.subarray((clipPositions - 1) * width), out.length - width);
  return out;
}

/** Rows of equal length as one tensor. */
function stacked(rows: readonly Float32Array[], shape: readonly number[]): Tensor<'f32'> {
  const all = new Float32Array(rows.reduce((n, { length }) => n + length, 0));
  let at = 0;
  for (const row of rows) {
    all.set(row, at);
    at += row.length;
  }
  return f32([rows.length, ...shape], all);
}

/**
 * Encodes captions with frozen text encoders. Chunks are encoded one by one, each once, so that what
 * is kept does not depend on the captions beside it.
 */
export class FrozenTextEncoder {
  readonly #executor: () => Promise<Executor> | Executor;
  readonly #model: NetworkModel;
  readonly #options: TextOptions;
  readonly #store: TextStore | undefined;
  readonly #held = new Map<string, EncodedChunk>();
  /** With weights of tokens and without: captions that have none are encoded alike in both ways. */
  readonly #graphs = new Map<boolean, Executable>();

  /** @param executor asked for when a chunk is first not in the store */
  constructor(
    executor: () => Promise<Executor> | Executor,
    model: NetworkModel,
    options: TextOptions,
    store?: TextStore,
  ) {
    this.#executor = executor;
    this.#model = model;
    this.#options = options;
    this.#store = store;
  }

  /**
   * `context` [n, t, d] of captions, all as long as the longest, and `pooled` [n, p] where there is.
   * @param emphasis whether they weigh their words; as the options say unless given
   */
  async encode(
    captions: readonly string[],
    emphasis: boolean = this.#options.emphasis ?? false,
  ): Promise<Values> {
    const feeds = tokenFeeds(this.#model.family, captions, { ...this.#options, emphasis });
    const chunks = feeds['ids']!.shape[1]!;
    const contexts: Float32Array[] = [];
    const pooled: Float32Array[] = [];
    for (let i = 0; i < captions.length; i++) {
      const encoded: EncodedChunk[] = [];
      for (let j = 0; j < chunks; j++) encoded.push(await this.#chunk(feeds, i * chunks + j));
      contexts.push(joined(encoded));
      pooled.push(encoded[0]!.pooled);
    }
    const length = chunks === 1 ? clipPositions : 2 + chunks * (clipPositions - 2);
    const context = stacked(contexts, [length, contexts[0]!.length / length]);
    return pooled[0]!.length === 0
      ? { context }
      : { context, pooled: stacked(pooled, [pooled[0]!.length]) };
  }

  /** Number `row` of all chunks of the feeds, from memory, the store or the encoders. */
  async #chunk(
    feeds: Readonly<Record<string, Tensor<'i32' | 'f32'>>>,
    row: number,
  ): Promise<EncodedChunk> {
    const own: Record<string, Tensor<'i32' | 'f32'>> = {};
    const shape = [1, 1, clipPositions];
    for (const [name, { data }] of Object.entries(feeds)) {
      if (name === 'endRows') continue;
      const part = data.slice(row * clipPositions, (row + 1) * clipPositions);
      own[name] = part instanceof Int32Array ? i32(shape, part) : f32(shape, part);
    }
    const { pooledFrom } = this.#model.family;
    if (pooledFrom !== null) {
      own['endRows'] = endRowsOf(own[idsInput(pooledFrom)]! as Tensor<'i32'>);
    }
    const weights = areWeighed(own) ? own['tokenWeights']!.data : null;
    if (weights === null) delete own['tokenWeights'];
    const key = `${own['ids']!.data}${weights ? ` weighing ${weights}` : ''}`;
    let chunk = this.#held.get(key);
    if (!chunk) {
      chunk = (await this.#stored(key)) ?? (await this.#encode(key, own));
      if (this.#held.size >= heldChunks) this.#held.delete(this.#held.keys().next().value!);
      this.#held.set(key, chunk);
    }
    return chunk;
  }

  #storeKey(key: string, part: string): string {
    return `text ${this.#store!.key} ${part} ${key}`;
  }

  async #stored(key: string): Promise<EncodedChunk | null> {
    if (!this.#store) return null;
    const context = await this.#store.cache.get(this.#storeKey(key, 'context'));
    if (!context) return null;
    if (this.#model.family.pooledFrom === null) {
      return { context: context.data, pooled: new Float32Array() };
    }
    const pooled = await this.#store.cache.get(this.#storeKey(key, 'pooled'));
    return pooled && { context: context.data, pooled: pooled.data };
  }

  async #encode(key: string, feeds: Values): Promise<EncodedChunk> {
    const emphasis = areWeighed(feeds);
    let graph = this.#graphs.get(emphasis);
    if (!graph) {
      const g = new GraphBuilder();
      const options = { ...this.#options, emphasis };
      const text = encodedText(g, this.#model, { batch: 1, chunks: 1 }, options);
      const executor = await this.#executor();
      graph = await executor.compile(g.build(textOutputs(text)));
      this.#graphs.set(emphasis, graph);
    }
    const { context, pooled } = (await graph.run(feeds)) as Record<string, Tensor<'f32'>>;
    if (this.#store) {
      await this.#store.cache.put(this.#storeKey(key, 'context'), context!);
      if (pooled) await this.#store.cache.put(this.#storeKey(key, 'pooled'), pooled);
    }
    return { context: context!.data, pooled: pooled?.data ?? new Float32Array() };
  }
}
