/** @file The graphs that draw a preview: text encoders, UNet with and without the prompt, VAE decoder. */

import { GraphBuilder } from '../graph/graph-builder.ts';
import type { Graph } from '../graph/ops.ts';
import { loraAdapter } from '../lora/lora-adapter.ts';
import type { LoraLayout } from '../lora/lora-layout.ts';
import { networkScope } from '../models/layers.ts';
import { encodedText, fedText, predict, textOutputs } from '../models/networks.ts';
import { vaeDecoder } from '../models/vae.ts';
import type { StepModel } from './lora-step.ts';

/** What is drawn with. */
export interface PreviewModel {
  readonly model: StepModel;
  /** Empty: the base model as it is. */
  readonly layouts: readonly LoraLayout[];
  /** Strength of the adapter; 1 unless given. */
  readonly multiplier?: number | undefined;
}

/** Pixels, multiples of 8. */
export interface PreviewSize {
  readonly width: number;
  readonly height: number;
}

/** Both predictions are made in one batch: without the prompt, then with it. */
const pair = 2;

/** Elements of one picture's latents. */
export function latentShape({ width, height }: PreviewSize): readonly [1, 4, number, number] {
  return [1, 4, height / 8, width / 8];
}

/** Latents of both predictions. */
export function pairShape(size: PreviewSize): readonly number[] {
  const [, ...latent] = latentShape(size);
  return [pair, ...latent];
}

function adapterOf(g: GraphBuilder, { layouts, multiplier = 1 }: PreviewModel) {
  return layouts.length > 0 ? loraAdapter(g, layouts, { multiplier }) : undefined;
}

/** A negative prompt and a prompt, fed as `tokenFeeds` gives them, encoded with the adapter. */
export function previewTextGraph(
  drawn: PreviewModel,
  {
    chunks,
    ...options
  }: { readonly chunks: number; readonly clipSkip: number; readonly emphasis: boolean },
): Graph {
  const g = new GraphBuilder();
  const adapter = adapterOf(g, drawn);
  const text = encodedText(g, drawn.model, { batch: pair, chunks }, { ...options, adapter });
  return g.build(textOutputs(text));
}

/** `latents` as `pairShape` and the text, in `tokens` rows, to the prediction `out`. */
export function previewUnetGraph(drawn: PreviewModel & PreviewSize, tokens: number): Graph {
  const g = new GraphBuilder();
  const adapter = adapterOf(g, drawn);
  const conditions = fedText(g, drawn.model, { batch: pair, tokens });
  const latents = g.input('latents', pairShape(drawn));
  return g.build({ out: predict(g, drawn.model, latents, conditions, { adapter }) });
}

/** `latents` as `latentShape` to the picture `image` [1, 3, H, W]. */
export function previewDecoderGraph(drawn: Pick<PreviewModel, 'model'> & PreviewSize): Graph {
  const g = new GraphBuilder();
  const scope = networkScope(g, drawn.model.shapes, 'vae');
  return g.build({ image: vaeDecoder(scope, g.input('latents', latentShape(drawn))) });
}
