/** @file Every weight of a model of given sizes: its name, as in diffusers, and its shape. */

import type { Shape } from '../tensor/shape.ts';
import {
  type ModelSizes,
  type TextSizes,
  transformerDepth,
  type UnetSizes,
  type VaeSizes,
} from './sizes.ts';

/** Adds weights below one path. */
class Place {
  readonly #shapes: Map<string, Shape>;
  readonly #path: string;

  constructor(shapes: Map<string, Shape>, path: string) {
    this.#shapes = shapes;
    this.#path = path;
  }

  at(sub: string): Place {
    return new Place(this.#shapes, `${this.#path}${sub}.`);
  }

  weight(path: string, shape: Shape): void {
    this.#shapes.set(`${this.#path}${path}`, shape);
  }

  linear(path: string, inChannels: number, out: number, { bias = true } = {}): void {
    this.weight(`${path}.weight`, [out, inChannels]);
    if (bias) this.weight(`${path}.bias`, [out]);
  }

  conv(path: string, inChannels: number, out: number, kernel: number): void {
    this.weight(`${path}.weight`, [out, inChannels, kernel, kernel]);
    this.weight(`${path}.bias`, [out]);
  }

  norm(path: string, channels: number): void {
    this.weight(`${path}.weight`, [channels]);
    this.weight(`${path}.bias`, [channels]);
  }

  /** `time`: channels of the time embedding, where the block has one. */
  resnet(path: string, inChannels: number, out: number, time?: number): void {
    const block = this.at(path);
    block.norm('norm1', inChannels);
    block.conv('conv1', inChannels, out, 3);
    if (time !== undefined) block.linear('time_emb_proj', time, out);
    block.norm('norm2', out);
    block.conv('conv2', out, out, 3);
    if (inChannels !== out) block.conv('conv_shortcut', inChannels, out, 1);
  }
}

/** @param depth number of blocks */
function addTransformer(place: Place, channels: number, depth: number, sizes: UnetSizes): void {
  const project = (path: string) =>
    sizes.linearProjection
      ? place.linear(path, channels, channels)
      : place.conv(path, channels, channels, 1);
  place.norm('norm', channels);
  project('proj_in');
  for (let i = 0; i < depth; i++) {
    const block = place.at(`transformer_blocks.${i}`);
    for (const [name, keys] of [
      ['attn1', channels],
      ['attn2', sizes.contextChannels],
    ] as const) {
      const attention = block.at(name);
      attention.linear('to_q', channels, channels, { bias: false });
      attention.linear('to_k', keys, channels, { bias: false });
      attention.linear('to_v', keys, channels, { bias: false });
      attention.linear('to_out.0', channels, channels);
    }
    // GEGLU: values and gates of 4·channels each.
    block.linear('ff.net.0.proj', channels, 8 * channels);
    block.linear('ff.net.2', 4 * channels, channels);
    for (const norm of ['norm1', 'norm2', 'norm3']) block.norm(norm, channels);
  }
  project('proj_out');
}

function addUnet(unet: Place, sizes: UnetSizes): void {
  const { channels, layersPerBlock, additionChannels } = sizes;
  const first = channels[0]!;
  const time = 4 * first;
  unet.linear('time_embedding.linear_1', first, time);
  unet.linear('time_embedding.linear_2', time, time);
  if (additionChannels !== undefined) {
    unet.linear('add_embedding.linear_1', additionChannels, time);
    unet.linear('add_embedding.linear_2', time, time);
  }
  unet.conv('conv_in', sizes.inChannels, first, 3);
  const skips = [first];
  let width = first;
  for (const [i, out] of channels.entries()) {
    const block = unet.at(`down_blocks.${i}`);
    for (let j = 0; j < layersPerBlock; j++) {
      block.resnet(`resnets.${j}`, width, out, time);
      const depth = transformerDepth(sizes, i);
      if (depth > 0) addTransformer(block.at(`attentions.${j}`), out, depth, sizes);
      width = out;
      skips.push(width);
    }
    if (i < channels.length - 1) {
      block.conv('downsamplers.0.conv', width, width, 3);
      skips.push(width);
    }
  }
  const middle = unet.at('mid_block');
  middle.resnet('resnets.0', width, width, time);
  addTransformer(middle.at('attentions.0'), width, transformerDepth(sizes), sizes);
  middle.resnet('resnets.1', width, width, time);
  for (const [i, out] of [...channels].reverse().entries()) {
    const block = unet.at(`up_blocks.${i}`);
    for (let j = 0; j <= layersPerBlock; j++) {
      block.resnet(`resnets.${j}`, width + skips.pop()!, out, time);
      const depth = transformerDepth(sizes, channels.length - 1 - i);
      if (depth > 0) addTransformer(block.at(`attentions.${j}`), out, depth, sizes);
      width = out;
    }
    if (i < channels.length - 1) block.conv('upsamplers.0.conv', width, width, 3);
  }
  unet.norm('conv_norm_out', first);
  unet.conv('conv_out', first, sizes.outChannels, 3);
}

function addTextEncoder(encoder: Place, sizes: TextSizes): void {
  const { vocabulary, positions, hidden, inner, layers, projection } = sizes;
  const model = encoder.at('text_model');
  model.weight('embeddings.token_embedding.weight', [vocabulary, hidden]);
  model.weight('embeddings.position_embedding.weight', [positions, hidden]);
  for (let i = 0; i < layers; i++) {
    const layer = model.at(`encoder.layers.${i}`);
    for (const name of ['k_proj', 'v_proj', 'q_proj', 'out_proj']) {
      layer.linear(`self_attn.${name}`, hidden, hidden);
    }
    layer.norm('layer_norm1', hidden);
    layer.linear('mlp.fc1', hidden, inner);
    layer.linear('mlp.fc2', inner, hidden);
    layer.norm('layer_norm2', hidden);
  }
  model.norm('final_layer_norm', hidden);
  if (projection !== undefined) {
    encoder.linear('text_projection', hidden, projection, { bias: false });
  }
}

function addVaeMiddle(block: Place, channels: number): void {
  block.resnet('resnets.0', channels, channels);
  const attention = block.at('attentions.0');
  attention.norm('group_norm', channels);
  for (const name of ['to_q', 'to_k', 'to_v', 'to_out.0']) {
    attention.conv(name, channels, channels, 1);
  }
  block.resnet('resnets.1', channels, channels);
}

function addVae(vae: Place, sizes: VaeSizes): void {
  const { channels, layersPerBlock, imageChannels, latentChannels } = sizes;
  const last = channels.length - 1;
  const encoder = vae.at('encoder');
  encoder.conv('conv_in', imageChannels, channels[0]!, 3);
  let width = channels[0]!;
  for (const [i, out] of channels.entries()) {
    const block = encoder.at(`down_blocks.${i}`);
    for (let j = 0; j < layersPerBlock; j++) {
      block.resnet(`resnets.${j}`, width, out);
      width = out;
    }
    if (i < last) block.conv('downsamplers.0.conv', width, width, 3);
  }
  addVaeMiddle(encoder.at('mid_block'), width);
  encoder.norm('conv_norm_out', width);
  encoder.conv('conv_out', width, 2 * latentChannels, 3);
  vae.conv('quant_conv', 2 * latentChannels, 2 * latentChannels, 1);
  vae.conv('post_quant_conv', latentChannels, latentChannels, 1);
  const decoder = vae.at('decoder');
  decoder.conv('conv_in', latentChannels, width, 3);
  addVaeMiddle(decoder.at('mid_block'), width);
  for (const [i, out] of [...channels].reverse().entries()) {
    const block = decoder.at(`up_blocks.${i}`);
    for (let j = 0; j <= layersPerBlock; j++) {
      block.resnet(`resnets.${j}`, width, out);
      width = out;
    }
    if (i < last) block.conv('upsamplers.0.conv', width, width, 3);
  }
  decoder.norm('conv_norm_out', width);
  decoder.conv('conv_out', width, imageChannels, 3);
}

/**
 * The weights of all networks by full name, such as `unet.conv_in.weight`, with the shapes that they
 * have in diffusers; attention of the VAE as 1x1 convolutions, as checkpoints have it.
 */
export function modelTensorShapes({ text, text2, unet, vae }: ModelSizes): Map<string, Shape> {
  const shapes = new Map<string, Shape>();
  addTextEncoder(new Place(shapes, 'text_encoder.'), text);
  if (text2) addTextEncoder(new Place(shapes, 'text_encoder_2.'), text2);
  addUnet(new Place(shapes, 'unet.'), unet);
  addVae(new Place(shapes, 'vae.'), vae);
  return shapes;
}
