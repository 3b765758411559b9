/**
 * @file The weights that prompts of AUTOMATIC1111's web UI give their words, such as `(word:1.3)`, and
 * what they do to the encoded text.
 */

import type { GraphBuilder } from '../graph/graph-builder.ts';
import type { Node } from '../graph/ops.ts';

/** A stretch of a caption and its weight. */
export interface WeighedText {
  readonly text: string;
  readonly weight: number;
}

/** What a pair of round brackets multiplies by; square ones divide. */
const step = 1.1;

/** Captions are cut at 225 tokens, so that deeper brackets are no one's meaning. */
const mostBrackets = 1000;

/** An escaped character; an opening bracket; a weight with its bracket; a closing one; plain text. */
const pieces =
  /\\([()[\]\\])?|([([])|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|([)\]])|([^\\()[\]:]+|:)/gsu;

/**
 * Takes the brackets out of a caption: `(a)` weighs 1.1, `[a]` 1 / 1.1, `(a:1.3)` 1.3, inner ones are
 * multiplied, `\(` is a bracket of the text. A bracket without its end reaches to the caption's.
 * @returns the stretches in order; the whole caption with weight 1 where there are no brackets
 */
export function readEmphasis(caption: string): readonly WeighedText[] {
  const texts: { text: string; weight: number }[] = [];
  const round: number[] = [];
  const square: number[] = [];
  const multiply = (from: number, factor: number) => {
    for (let i = from; i < texts.length; i++) texts[i]!.weight *= factor;
  };
  for (const [all, escaped, opening, weight, closing, plain] of caption.matchAll(pieces)) {
    const open = closing === ']' ? square : round;
    if (opening !== undefined && round.length + square.length < mostBrackets) {
      (opening === '(' ? round : square).push(texts.length);
    } else if ((weight ?? closing) !== undefined && open.length > 0) {
      const factor = weight === undefined ? (closing === ')' ? step : 1 / step) : Number(weight);
      multiply(open.pop()!, factor);
    } else {
      const text = all.startsWith('\\') ? (escaped ?? '') : (plain ?? all);
      texts.push({ text, weight: 1 });
    }
  }
  for (const from of round) multiply(from, step);
  for (const from of square) multiply(from, 1 / step);
  const joined: { text: string; weight: number }[] = [];
  for (const { text, weight } of texts) {
    const last = joined.at(-1);
    if (last?.weight === weight) last.text += text;
    else joined.push({ text, weight });
  }
  return joined.length > 0 ? joined : [{ text: '', weight: 1 }];
}

/** The caption's text alone, without brackets and weights. */
export const withoutEmphasis = (caption: string): string =>
  readEmphasis(caption)
    .map(({ text }) => text)
    .join('');

/**
 * Multiplies each encoded token by its weight, and each chunk by what brings its mean back to where
 * it was, as AUTOMATIC1111's web UI does ("Original" emphasis, for one prompt at a time); kohya's trainer
 * takes one mean for all chunks of a caption. Pooled texts have no weights in either. Weights of 1 change
 * nothing.
 *
 * @param encoded [rows, 77, d]
 * @param weights as many as tokens; undefined for none
 */
export function weighTokens(g: GraphBuilder, encoded: Node, weights: Node | undefined): Node {
  if (weights === undefined) return encoded;
  const [rows, length] = encoded.shape as [number, number, number];
  const one = g.constant(1, []);
  const weight = g.reshape(weights, [rows, length, 1]);
  const sum = (x: Node) => g.reshape(g.sum(x, [1, 2]), [rows, 1, 1]);
  // Σz / Σwz as 1 / (1 + Σ(w - 1)z / Σz): its derivative is exactly 0 where all weights are 1,
  // while the two of the plain quotient are large, and cancel badly where the mean is near 0.
  const excess = g.div(sum(g.mul(encoded, g.sub(weight, one))), sum(encoded));
  return g.mul(g.mul(encoded, weight), g.div(one, g.add(one, excess)));
}
