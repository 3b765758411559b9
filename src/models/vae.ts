/** @file The autoencoder between pictures and latents (diffusers: AutoencoderKL). */

import type { Node } from '../graph/ops.ts';
import { conv2d, countAt, groupNorm, linear, type Scope, toPixels, toTokens } from './layers.ts';
import { resnetBlock } from './resnet-block.ts';

const normEpsilon = 1e-6;

/** Latents are multiplied by this before the UNet of SD 1.x sees them. */
export const latentScale = 0.18215;

function resnet(s: Scope, path: string, x: Node): Node {
  return s.g.segment(() => resnetBlock(s.at(path), x, { epsilon: normEpsilon }));
}

function resnets(s: Scope, input: Node): Node {
  let x = input;
  const layers = countAt(s, 'resnets', 'conv1.weight');
  for (let i = 0; i < layers; i++) x = resnet(s, `resnets.${i}`, x);
  return x;
}

/** Attention over all pixels, one head; x [n, c, h, w]. */
function attentionBlock(s: Scope, x: Node): Node {
  const { g } = s;
  const [, channels, height, width] = x.shape as [number, number, number, number];
  const tokens = toTokens(g, groupNorm(s, 'group_norm', x, normEpsilon));
  const mixed = g.attention(
    linear(s, 'to_q', tokens),
    linear(s, 'to_k', tokens),
    linear(s, 'to_v', tokens),
    { heads: 1, scale: 1 / Math.sqrt(channels), causal: false },
  );
  return g.add(x, toPixels(g, linear(s, 'to_out.0', mixed), height, width));
}

function midBlock(s: Scope, input: Node): Node {
  const x = resnet(s, 'resnets.0', input);
  return resnet(
    s,
    'resnets.1',
    s.g.segment(() => attentionBlock(s.at('attentions.0'), x)),
  );
}

function normAndConvOut(s: Scope, x: Node): Node {
  const h = s.g.silu(groupNorm(s, 'conv_norm_out', x, normEpsilon));
  return conv2d(s, 'conv_out', h, { padding: 1 });
}

/**
 * The distribution of a picture's latents.
 *
 * @param s scope of the autoencoder
 * @param image [n, 3, H, W] in [-1, 1]
 * @returns [n, 8, H/8, W/8]: means, then logarithms of the variances, not clamped, not scaled
 */
export function vaeEncoder(s: Scope, image: Node): Node {
  const encoder = s.at('encoder');
  let x = conv2d(encoder, 'conv_in', image, { padding: 1 });
  const levels = countAt(encoder, 'down_blocks', 'resnets.0.conv1.weight');
  for (let i = 0; i < levels; i++) {
    const block = encoder.at(`down_blocks.${i}`);
    x = resnets(block, x);
    // Padded at the bottom and on the right only.
    if (block.has('downsamplers.0.conv.weight')) {
      x = conv2d(block, 'downsamplers.0.conv', x, { stride: 2, padding: [0, 0, 1, 1] });
    }
  }
  return conv2d(s, 'quant_conv', normAndConvOut(encoder, midBlock(encoder.at('mid_block'), x)));
}

/**
 * The picture of latents.
 *
 * @param s scope of the autoencoder
 * @param latents [n, 4, h, w], divided by `latentScale`
 * @returns [n, 3, 8h, 8w], not clamped to [-1, 1]
 */
export function vaeDecoder(s: Scope, latents: Node): Node {
  const decoder = s.at('decoder');
  const { g } = s;
  let x = conv2d(decoder, 'conv_in', conv2d(s, 'post_quant_conv', latents), { padding: 1 });
  x = midBlock(decoder.at('mid_block'), x);
  const levels = countAt(decoder, 'up_blocks', 'resnets.0.conv1.weight');
  for (let i = 0; i < levels; i++) {
    const block = decoder.at(`up_blocks.${i}`);
    x = resnets(block, x);
    if (block.has('upsamplers.0.conv.weight')) {
      const small = x;
      const [, , height, width] = small.shape as [number, number, number, number];
      x = g.segment(() => {
        const large = g.upsampleNearest(small, 2 * height, 2 * width);
        return conv2d(block, 'upsamplers.0.conv', large, { padding: 1 });
      });
    }
  }
  return normAndConvOut(decoder, x);
}
