/** @file The networks of a model in a graph, with the inputs that they are fed by. */

import type { GraphBuilder } from '../graph/graph-builder.ts';
import type { Node } from '../graph/ops.ts';
import type { Shape } from '../tensor/shape.ts';
import { f32, i32, type Tensor } from '../tensor/tensor.ts';
import { clipPositions } from './clip-tokenizer.ts';
import { type Adapter, networkScope } from './layers.ts';
import type { EncoderNodes, ModelFamily, TextNodes, TextOptions } from './model-family.ts';
import { timestepEmbedding } from './timestep-embedding.ts';
import { type UnetHeads, unet } from './unet.ts';

/** Counts that tensors do not tell; those of the family's published models unless given. */
export interface HeadCounts {
  readonly unet?: UnetHeads | undefined;
  /** Of each text encoder. */
  readonly text?: readonly number[] | undefined;
}

/** All that graphs of a model are built from. */
export interface NetworkModel {
  readonly family: ModelFamily;
  /** Of all weights by full name. */
  readonly shapes: ReadonlyMap<string, Shape>;
  readonly heads?: HeadCounts | undefined;
  /** Of the executor that graphs are for: layers of one input are one product. */
  readonly joinsLayers?: boolean | undefined;
}

/** Numbers that say which part of a picture is seen: SDXL's conditions, in pixels. */
export interface PictureFrame {
  /** Of the picture before it was scaled and cropped. */
  readonly originalHeight: number;
  readonly originalWidth: number;
  /** What was cropped of the scaled picture. */
  readonly cropTop: number;
  readonly cropLeft: number;
  /** What is left: the size that is trained or drawn. */
  readonly targetHeight: number;
  readonly targetWidth: number;
}

function shapeOf({ shapes }: NetworkModel, name: string): Shape {
  const shape = shapes.get(name);
  if (!shape) throw new Error(`internal: the model has no ${name}`);
  return shape;
}

/** Channels of the sinusoidal embedding of timesteps. */
function timeChannels(model: NetworkModel): number {
  return shapeOf(model, 'unet.conv_in.weight')[0]!;
}

/** Channels of pooled text, and of each sinusoidal embedding of a size; null without them. */
function addedChannels(model: NetworkModel) {
  const both = model.shapes.get('unet.add_embedding.linear_1.weight')?.[1];
  if (both === undefined) return null;
  const pooled = shapeOf(model, 'text_encoder_2.text_projection.weight')[0]!;
  return { pooled, size: (both - pooled) / frameNumbers };
}

const frameNumbers = 6;

/** The name of the input of one encoder's ids. */
export const idsInput = (network: string): string => network.replace('text_encoder', 'ids');

/**
 * The captions encoded in the graph. It is fed `ids` i32 [n, chunks, 77] of each text encoder (`ids`,
 * `ids_2`), `endRows` i32 [n] where the family asks for it, and `tokenWeights` f32 [n, chunks, 77] for emphasis.
 */
export function encodedText(
  g: GraphBuilder,
  model: NetworkModel,
  { batch, chunks }: { readonly batch: number; readonly chunks: number },
  { adapter, ...options }: TextOptions & { readonly adapter?: Adapter | undefined },
): TextNodes {
  const shape = [batch, chunks, clipPositions];
  const weights = options.emphasis ? g.input('tokenWeights', shape) : undefined;
  const encoders = model.family.textEncoders.map(
    ({ network, activation }, i): EncoderNodes => ({
      scope: networkScope(g, model.shapes, network, { adapter, joinsLayers: model.joinsLayers }),
      ids: g.input(idsInput(network), shape, 'i32'),
      heads: model.heads?.text?.[i],
      activation,
      weights,
    }),
  );
  return model.family.encodeText(encoders, () => g.input('endRows', [batch], 'i32'), options);
}

/** The text as outputs of a graph, named as `fedText` takes them. */
export function textOutputs({ context, pooled }: TextNodes): Readonly<Record<string, Node>> {
  return pooled ? { context, pooled } : { context };
}

/** Finished text as inputs: `context` [n, t, d], and `pooled` [n, p] where the UNet takes it. */
export function fedText(
  g: GraphBuilder,
  model: NetworkModel,
  { batch, tokens }: { readonly batch: number; readonly tokens: number },
): TextNodes {
  const key = 'unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight';
  const context = g.input('context', [batch, tokens, shapeOf(model, key)[1]!]);
  const added = addedChannels(model);
  if (added === null) return { context };
  return { context, pooled: g.input('pooled', [batch, added.pooled]) };
}

export interface PredictOptions {
  readonly adapter?: Adapter | undefined;
  /** Sees the output of each block, by its name in diffusers. */
  readonly tap?: ((name: string, value: Node) => void) | undefined;
}

/** The UNet's output for noisy latents [n, 4, h, w]; it is fed by `unetFeeds`. */
export function predict(
  g: GraphBuilder,
  model: NetworkModel,
  latents: Node,
  { context, pooled }: TextNodes,
  { adapter, tap }: PredictOptions = {},
): Node {
  const n = latents.shape[0]!;
  const added = addedChannels(model);
  const addition =
    added && pooled
      ? g.concat([pooled, g.input('frame', [n, frameNumbers * added.size])], 1)
      : undefined;
  return unet(
    networkScope(g, model.shapes, 'unet', { adapter, joinsLayers: model.joinsLayers }),
    {
      latents,
      timeProj: g.input('timeProj', [n, timeChannels(model)]),
      context,
      ...(addition ? { addition } : {}),
    },
    { heads: model.heads?.unet ?? model.family.unetHeads, ...(tap ? { tap } : {}) },
  );
}

/** The numbers of a frame in the order in which SDXL takes them. */
function numbersOf(frame: PictureFrame): number[] {
  return [
    frame.originalHeight,
    frame.originalWidth,
    frame.cropTop,
    frame.cropLeft,
    frame.targetHeight,
    frame.targetWidth,
  ];
}

/**
 * What the UNet is fed beside latents and text: `timeProj`, and `frame` where it takes sizes.
 * @param frames one for each timestep
 */
export function unetFeeds(
  model: NetworkModel,
  timesteps: readonly number[],
  frames: readonly PictureFrame[],
): Record<string, Tensor<'f32'>> {
  const timeProj = timestepEmbedding(timesteps, timeChannels(model));
  const added = addedChannels(model);
  if (added === null) return { timeProj };
  const embedded = timestepEmbedding(frames.flatMap(numbersOf), added.size);
  return { timeProj, frame: f32([frames.length, frameNumbers * added.size], embedded.data) };
}

/** A picture that was neither scaled nor cropped. */
export function wholeFrame({
  width,
  height,
}: {
  readonly width: number;
  readonly height: number;
}): PictureFrame {
  return {
    originalHeight: height,
    originalWidth: width,
    cropTop: 0,
    cropLeft: 0,
    targetHeight: height,
    targetWidth: width,
  };
}

/**
 * Where each caption ends in its first chunk, as `endRows` wants it: the largest id is the end's.
 * @param ids of the encoder that gives the pooled text, [n, chunks, 77] or [n, 77]
 */
export function endRowsOf({ shape, data }: Tensor<'i32'>): Tensor<'i32'> {
  const [n, length] = [shape[0]!, shape.at(-1)!];
  const stride = data.length / n;
  const rows = Array.from({ length: n }, (_, i) => {
    const first = data.subarray(i * stride, i * stride + length);
    return i * stride + first.indexOf(first.reduce((a, b) => Math.max(a, b)));
  });
  return i32([n], rows);
}
