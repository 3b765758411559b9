/** @file Captions as a step's graph takes them: ids to be encoded in it, or finished contexts. */

import { GraphBuilder } from '../graph/graph-builder.ts';
import { textContext } from '../models/clip-text-model.ts';
import { type ClipTokenizer, clipPositions } from '../models/clip-tokenizer.ts';
import { networkScope } from '../models/layers.ts';
import type { Executable, Executor } from '../runtime/executor.ts';
import { f32, i32, type Tensor } from '../tensor/tensor.ts';
import type { StepModel } from './lora-step.ts';

export interface TextOptions {
  readonly tokenizer: ClipTokenizer;
  readonly maxTokens: number;
  readonly clipSkip: number;
}

/** The ids of captions, i32 [n, chunks, 77], all with as many chunks as the longest needs. */
export function tokenizeBatch(
  captions: readonly string[],
  { tokenizer, maxTokens }: TextOptions,
): Tensor<'i32'> {
  const needed = captions.map((caption) => tokenizer.chunk(caption, { maxTokens }).chunks);
  const minChunks = Math.max(...needed);
  const ids = captions.map((caption) => tokenizer.chunk(caption, { maxTokens, minChunks }).ids);
  const all = new Int32Array(captions.length * minChunks * clipPositions);
  for (const [i, row] of ids.entries()) all.set(row, i * minChunks * clipPositions);
  return i32([captions.length, minChunks, clipPositions], all);
}

/** Contexts held at once; a context of 77 tokens by 768 channels takes 237 KB. */
const heldContexts = 512;

/** Encodes captions with the frozen text encoder, each once. */
export class FrozenTextEncoder {
  readonly #executor: Executor;
  readonly #model: StepModel;
  readonly #options: TextOptions;
  readonly #graphs = new Map<number, Executable>();
  readonly #contexts = new Map<string, Float32Array>();

  constructor(executor: Executor, model: StepModel, options: TextOptions) {
    this.#executor = executor;
    this.#model = model;
    this.#options = options;
  }

  /** The contexts of captions, [n, t, d], all as long as the longest. */
  async encode(captions: readonly string[]): Promise<Tensor<'f32'>> {
    const ids = tokenizeBatch(captions, this.#options);
    const chunks = ids.shape[1]!;
    const rows: Float32Array[] = [];
    for (const [i, caption] of captions.entries()) {
      const key = `${chunks} ${caption}`;
      let context = this.#contexts.get(key);
      if (!context) {
        const size = chunks * clipPositions;
        context = await this.#encodeOne(ids.data.subarray(i * size, (i + 1) * size), chunks);
        if (this.#contexts.size >= heldContexts) {
          this.#contexts.delete(this.#contexts.keys().next().value!);
        }
        this.#contexts.set(key, context);
      }
      rows.push(context);
    }
    const length = chunks === 1 ? clipPositions : 2 + chunks * (clipPositions - 2);
    const all = new Float32Array(rows.length * rows[0]!.length);
    for (const [i, row] of rows.entries()) all.set(row, i * row.length);
    return f32([rows.length, length, rows[0]!.length / length], all);
  }

  async #encodeOne(ids: Int32Array, chunks: number): Promise<Float32Array> {
    let graph = this.#graphs.get(chunks);
    const shape = [1, chunks, clipPositions];
    if (!graph) {
      const g = new GraphBuilder();
      const { clipSkip } = this.#options;
      const scope = networkScope(g, this.#model.shapes, 'text_encoder');
      const options = { clipSkip, heads: this.#model.textHeads };
      const context = textContext(scope, g.input('ids', shape, 'i32'), options);
      graph = await this.#executor.compile(g.build({ context }));
      this.#graphs.set(chunks, graph);
    }
    const { context } = await graph.run({ ids: i32(shape, ids) });
    return context!.data as Float32Array;
  }
}
