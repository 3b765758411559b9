/**
 * @file Where the UNet's training starts: it predicts its noisy input as the noise, which is right for
 * the noisiest timesteps, and learns the rest. Without that, the norm before the last layer hides the
 * mean of large areas (see initial-vae.ts).
 */

import { baseSizes } from './base-sizes.ts';
import type { FlatWeights } from './flat-weights.ts';
import { LayerRows, siluAtStraight, slopeAtStraight, straight } from './layer-rows.ts';

/** Constant neighbours of a latent's channel in its group. */
const anchor = 3;
/** Groups of every norm. */
const groups = 32;

/** Changes start values so that the latents pass from the first layer to the last. */
export function passLatents(flat: FlatWeights, values: Float32Array): void {
  const rows = new LayerRows(flat, values);
  const { channels, inChannels, layersPerBlock } = baseSizes.unet;
  const width = channels[0]!;
  const groupSize = width / groups;
  const last = `unet.up_blocks.${channels.length - 1}.resnets.${layersPerBlock}`;
  // The group's deviation is about anchor·√(2/size), as its other members are small.
  const regain = (anchor * Math.sqrt(2 / groupSize)) / slopeAtStraight;
  for (let c = 0; c < inChannels; c++) {
    const first = groupSize * c;
    rows.set('unet.conv_in', c, [[c, 1, 1, 1]]);
    // The skip connection of the first layer comes after what the level below gives.
    rows.set(`${last}.conv_shortcut`, first, [[width + c, 0, 0, 1]]);
    rows.set(`${last}.conv_shortcut`, first + 1, [], anchor);
    rows.set(`${last}.conv_shortcut`, first + 2, [], -anchor);
    rows.biasOfNorm('unet.conv_norm_out', first, straight);
    rows.set('unet.conv_out', c, [[first, 1, 1, regain]], -regain * siluAtStraight);
  }
}
