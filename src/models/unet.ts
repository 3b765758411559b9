/** @file The noise predictor (diffusers: UNet2DConditionModel), its sizes read off the weights. */

import type { Node } from '../graph/ops.ts';
import { conv2d, countAt, groupNorm, linear, linears, type Scope } from './layers.ts';
import { resnetBlock } from './resnet-block.ts';
import { type TextProjections, textProjections, transformer2d } from './transformer-2d.ts';

const normEpsilon = 1e-5;

export interface UnetInputs {
  /** Noisy latents [n, 4, h, w]. */
  readonly latents: Node;
  /** `timestepEmbedding` of the samples' timesteps, [n, c0]. */
  readonly timeProj: Node;
  /** The text encoder's output [n, t, d]. */
  readonly context: Node;
  /** Pooled text and embedded sizes [n, a], which SDXL adds to the timestep. */
  readonly addition?: Node;
}

/**
 * Attention heads of a block of so many channels; 8 in SD 1.x.
 * @param level 0 for blocks of the latents' own size, one more for each half of it; the middle block has the last
 */
export type UnetHeads = (channels: number, level: number) => number;

export interface UnetOptions {
  readonly heads: UnetHeads;
  /** Sees the output of each block, by its name in diffusers. */
  readonly tap?: (name: string, value: Node) => void;
}

/** What every block of one UNet needs. */
interface Conditions {
  /** What the time embedding adds to the channels of the resnet of a scope, [n, c]. */
  readonly shift: (s: Scope) => Node;
  readonly text: TextProjections;
  /** Of the level's blocks. */
  readonly heads: (channels: number) => number;
}

// Resnets and transformers are each one checkpointing segment: what crosses a border is one feature
// map of the block's size, or a skip connection, which is kept anyway.

function resnet(s: Scope, path: string, x: Node, { shift }: Conditions): Node {
  return s.g.segment(() => resnetBlock(s.at(path), x, { epsilon: normEpsilon, shift }));
}

/** The shifts of all resnets, from silu of the time embedding [n, 4·c0]; at once where layers are joined. */
function timeShifts(s: Scope, time: Node): Conditions['shift'] {
  const layer = 'time_emb_proj';
  if (!s.joinsLayers) return (at) => linear(at, layer, time);
  const paths = s.endingWith(`.${layer}.weight`).map((block) => `${block}.${layer}`);
  // Each takes along the bias of the convolution that it is added to.
  const convolutionOf = (path: string) => path.replace(layer, 'conv1');
  const found = linears(s, paths, time, (path) => [path, convolutionOf(path)]);
  const byName = new Map(paths.map((path, i) => [s.nameOf(path), found[i]!]));
  return (at) => byName.get(at.nameOf(layer))!;
}

/** The transformer at `path`, if this level has one. */
function attend(s: Scope, path: string, x: Node, { text, heads }: Conditions): Node {
  if (!s.has(`${path}.proj_in.weight`)) return x;
  return s.g.segment(() => transformer2d(s.at(path), x, text, heads(x.shape[1]!)));
}

/** Appends to `skips` what the up blocks will take. */
function downBlock(s: Scope, input: Node, conditions: Conditions, skips: Node[]): Node {
  let x = input;
  const layers = countAt(s, 'resnets', 'conv1.weight');
  for (let i = 0; i < layers; i++) {
    x = attend(s, `attentions.${i}`, resnet(s, `resnets.${i}`, x, conditions), conditions);
    skips.push(x);
  }
  if (s.has('downsamplers.0.conv.weight')) {
    x = conv2d(s, 'downsamplers.0.conv', x, { stride: 2, padding: 1 });
    skips.push(x);
  }
  return x;
}

function midBlock(s: Scope, input: Node, conditions: Conditions): Node {
  const x = resnet(s, 'resnets.0', input, conditions);
  return resnet(s, 'resnets.1', attend(s, 'attentions.0', x, conditions), conditions);
}

function upBlock(s: Scope, input: Node, conditions: Conditions, skips: Node[]): Node {
  const { g } = s;
  let x = input;
  const layers = countAt(s, 'resnets', 'conv1.weight');
  for (let i = 0; i < layers; i++) {
    const below = x;
    const skip = skips.pop()!;
    const block = s.at(`resnets.${i}`);
    const options = { epsilon: normEpsilon, shift: conditions.shift };
    const joined = g.segment(() => resnetBlock(block, g.concat([below, skip], 1), options));
    x = attend(s, `attentions.${i}`, joined, conditions);
  }
  if (!s.has('upsamplers.0.conv.weight')) return x;
  const small = x;
  // Twice the size, but for odd sizes, where the skip connection tells.
  const [height, width] = skips.at(-1)!.shape.slice(2) as [number, number];
  return g.segment(() =>
    conv2d(s, 'upsamplers.0.conv', g.upsampleNearest(small, height, width), { padding: 1 }),
  );
}

/** The predicted noise (or velocity), of the latents' shape. */
export function unet(
  s: Scope,
  { latents, timeProj, context, addition }: UnetInputs,
  { heads, tap = () => {} }: UnetOptions,
): Node {
  const { g } = s;
  const mlp = (path: string, input: Node) =>
    linear(s, `${path}.linear_2`, g.silu(linear(s, `${path}.linear_1`, input)));
  let embedding = mlp('time_embedding', timeProj);
  tap('time_embedding', embedding);
  if (addition) {
    const added = mlp('add_embedding', addition);
    tap('add_embedding', added);
    embedding = g.add(embedding, added);
  }
  const shift = timeShifts(s, g.silu(embedding));
  const text = textProjections(s, context);
  const conditions = (level: number): Conditions => ({
    shift,
    text,
    heads: (channels) => heads(channels, level),
  });

  let x = conv2d(s, 'conv_in', latents, { padding: 1 });
  tap('conv_in', x);
  const skips = [x];
  const levels = countAt(s, 'down_blocks', 'resnets.0.conv1.weight');
  for (let i = 0; i < levels; i++) {
    x = downBlock(s.at(`down_blocks.${i}`), x, conditions(i), skips);
    tap(`down_blocks.${i}`, x);
  }
  x = midBlock(s.at('mid_block'), x, conditions(levels - 1));
  tap('mid_block', x);
  for (let i = 0; i < levels; i++) {
    x = upBlock(s.at(`up_blocks.${i}`), x, conditions(levels - 1 - i), skips);
    tap(`up_blocks.${i}`, x);
  }
  return conv2d(s, 'conv_out', g.silu(groupNorm(s, 'conv_norm_out', x, normEpsilon)), {
    padding: 1,
  });
}
