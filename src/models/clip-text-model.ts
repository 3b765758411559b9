/** @file The text encoders (HF: CLIPTextModel), and how long captions become one context. */

import type { GraphBuilder } from '../graph/graph-builder.ts';
import type { Node } from '../graph/ops.ts';
import { weighTokens } from './emphasis.ts';
import { countAt, layerNorm, linear, linears, type Scope } from './layers.ts';

/** Hidden size of one attention head in every published CLIP text model. */
const headSize = 64;

/** Attention heads of a text model of so many hidden channels, which tensors do not tell. */
export function clipHeads(hidden: number): number {
  let heads = Math.max(1, Math.round(hidden / headSize));
  while (hidden % heads !== 0) heads--;
  return heads;
}

/** OpenAI's CLIP has the quick form, OpenCLIP the exact one. */
export type ClipActivation = 'quickGelu' | 'gelu';

export interface ClipOptions {
  /** `clipHeads` unless given. */
  readonly heads?: number | undefined;
  /** `quickGelu` unless given. */
  readonly activation?: ClipActivation;
}

/** All hidden states [n, t, d]: 0 the embeddings, k what block k gives. */
export interface ClipStates {
  readonly hidden: readonly Node[];
  /** The last hidden state after the final norm. */
  readonly last: Node;
}

function encoderLayer(s: Scope, x: Node, heads: number, activation: ClipActivation): Node {
  const { g } = s;
  const attention = s.at('self_attn');
  const h = layerNorm(s, 'layer_norm1', x);
  const scale = 1 / Math.sqrt(x.shape[2]! / heads);
  const [q, k, v] = linears(attention, ['q_proj', 'k_proj', 'v_proj'], h) as [Node, Node, Node];
  const mixed = g.attention(q, k, v, { heads, scale, causal: true });
  const y = g.add(x, linear(attention, 'out_proj', mixed));
  const inner = g[activation](linear(s, 'mlp.fc1', layerNorm(s, 'layer_norm2', y)));
  return g.add(y, linear(s, 'mlp.fc2', inner));
}

/**
 * Encodes tokens.
 *
 * @param s scope of the text encoder
 * @param ids i32 [n, t], t at most the number of positions (77)
 */
export function clipTextModel(
  s: Scope,
  ids: Node,
  { heads, activation = 'quickGelu' }: ClipOptions = {},
): ClipStates {
  const { g } = s;
  const model = s.at('text_model');
  const tokens = g.gather(model.weight('embeddings.token_embedding.weight'), ids);
  const [, length, width] = tokens.shape as [number, number, number];
  const positions = model.weight('embeddings.position_embedding.weight');
  const hidden = [g.add(tokens, g.sliceAxis(positions, 0, 0, length))];
  const layers = countAt(model, 'encoder.layers', 'layer_norm1.weight');
  for (let i = 0; i < layers; i++) {
    const layer = model.at(`encoder.layers.${i}`);
    const x = hidden.at(-1)!;
    const count = heads ?? clipHeads(width);
    hidden.push(g.segment(() => encoderLayer(layer, x, count, activation)));
  }
  return { hidden, last: layerNorm(model, 'final_layer_norm', hidden.at(-1)!) };
}

/** What the UNet is given: the state `clipSkip` blocks from the end (1: the last), after the final norm. */
export function skipLayers(s: Scope, { hidden, last }: ClipStates, clipSkip: number): Node {
  const blocks = hidden.length - 1;
  if (!Number.isInteger(clipSkip) || clipSkip < 1 || clipSkip > blocks) {
    throw new Error(`internal: clip skip ${clipSkip} with ${blocks} blocks`);
  }
  if (clipSkip === 1) return last;
  return layerNorm(s, 'text_model.final_layer_norm', hidden[blocks + 1 - clipSkip]!);
}

/**
 * How the chunks of a long caption are joined. `kohya`: the first chunk's BOS, the 75 tokens of each
 * chunk, the last chunk's EOS, so 2 + 75·chunks tokens, as kohya's trainer does. `a1111`: whole
 * chunks one after the other, 77·chunks tokens, as AUTOMATIC1111's web UI and ComfyUI do.
 */
type ChunkJoin = 'kohya' | 'a1111';

export interface TextContextOptions extends ClipOptions {
  /** 1 unless given. */
  readonly clipSkip?: number;
  /** `kohya` unless given. */
  readonly join?: ChunkJoin;
  /** Of each token, as many as ids; none unless given. */
  readonly weights?: Node | undefined;
}

/** Ids [n, 77], or [n, chunks, 77], as rows [n·chunks, 77]: each chunk is encoded on its own. */
export function chunkRows(g: GraphBuilder, ids: Node): Node {
  if (ids.shape.length === 2) return ids;
  const [n, chunks, length] = ids.shape as [number, number, number];
  return g.reshape(ids, [n * chunks, length]);
}

/** Encoded chunks [n·chunks, 77, d] as one context [n, t, d] a caption. */
export function joinChunks(
  g: GraphBuilder,
  encoded: Node,
  chunks: number,
  join: ChunkJoin = 'kohya',
): Node {
  if (chunks === 1) return encoded;
  const [rows, length, width] = encoded.shape as [number, number, number];
  const joined = g.reshape(encoded, [rows / chunks, chunks * length, width]);
  if (join === 'a1111') return joined;
  const parts = [g.sliceAxis(joined, 1, 0, 1)];
  for (let i = 0; i < chunks; i++) {
    parts.push(g.sliceAxis(joined, 1, i * length + 1, (i + 1) * length - 1));
  }
  return g.concat([...parts, g.sliceAxis(joined, 1, chunks * length - 1, chunks * length)], 1);
}

/** Chunks of each caption of ids [n, 77] or [n, chunks, 77]. */
export function chunksOf(ids: Node): number {
  return ids.shape.length === 3 ? ids.shape[1]! : 1;
}

/**
 * The context [n, t, d] of captions.
 *
 * @param ids i32 [n, 77], or [n, chunks, 77] with BOS and EOS in each chunk
 */
export function textContext(
  s: Scope,
  ids: Node,
  { clipSkip = 1, join, weights, ...clip }: TextContextOptions = {},
): Node {
  const encoded = skipLayers(s, clipTextModel(s, chunkRows(s.g, ids), clip), clipSkip);
  return joinChunks(s.g, weighTokens(s.g, encoded, weights), chunksOf(ids), join);
}
