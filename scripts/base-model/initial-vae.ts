/**
 * @file Where the autoencoder's training starts: it passes colours on, eight times smaller and back,
 * and learns the rest. Without that, the norms at its two ends hide what colour a large area has.
 */

import type { FlatWeights } from './flat-weights.ts';
import { LayerRows, siluAtStraight, slopeAtStraight, straight } from './layer-rows.ts';

const colours = 3;
/** Channels of one group of the norms at both ends: 96 in 32 groups. */
const groupSize = 3;
/** Constant neighbours of a colour's channel in its group: they keep the norm from following it. */
const anchor = 3;
/** Undoes the norm's scale, anchor·√(2/3), and silu's slope. */
const regain = (anchor * Math.sqrt(2 / 3)) / slopeAtStraight;
/** Log-variance of the latents at the start: hardly any noise. */
const startLogVariance = -6;

/** Colour c moves to channel 3c, between two constants. */
function anchorColours(rows: LayerRows, shortcut: string, norm: string): void {
  for (let c = 0; c < colours; c++) {
    rows.set(shortcut, groupSize * c, [[c, 0, 0, 1]]);
    rows.set(shortcut, groupSize * c + 1, [], anchor);
    rows.set(shortcut, groupSize * c + 2, [], -anchor);
    rows.biasOfNorm(norm, groupSize * c, straight);
  }
}

/** The rows of a layer that read the anchored colours. */
function readColours(rows: LayerRows, layer: string): void {
  for (let c = 0; c < colours; c++) {
    rows.set(layer, c, [[groupSize * c, 1, 1, regain]], -regain * siluAtStraight);
  }
}

/** Changes start values so that colours pass through the shortcuts. */
export function passColours(flat: FlatWeights, values: Float32Array): void {
  const rows = new LayerRows(flat, values);
  const quarter = (c: number) => [0, 1].flatMap((y) => [0, 1].map((x) => [c, y, x, 0.25] as const));
  for (let c = 0; c < colours; c++) {
    rows.set('vae.encoder.conv_in', c, [[c, 1, 1, 1]]);
    for (const level of [0, 1, 2]) {
      rows.set(`vae.encoder.down_blocks.${level}.downsamplers.0.conv`, c, quarter(c));
      rows.set(`vae.decoder.up_blocks.${level}.upsamplers.0.conv`, c, [[c, 1, 1, 1]]);
    }
    rows.set('vae.encoder.down_blocks.1.resnets.0.conv_shortcut', c, [[c, 0, 0, 1]]);
    rows.set('vae.decoder.up_blocks.1.resnets.0.conv_shortcut', c, [[c, 0, 0, 1]]);
    rows.set('vae.decoder.conv_in', c, [[c, 1, 1, 1]]);
  }
  anchorColours(
    rows,
    'vae.encoder.down_blocks.3.resnets.0.conv_shortcut',
    'vae.encoder.conv_norm_out',
  );
  anchorColours(
    rows,
    'vae.decoder.up_blocks.3.resnets.0.conv_shortcut',
    'vae.decoder.conv_norm_out',
  );
  readColours(rows, 'vae.encoder.conv_out');
  readColours(rows, 'vae.decoder.conv_out');
  for (let i = 0; i < 8; i++) {
    rows.set('vae.quant_conv', i, i < 4 ? [[i, 0, 0, 1]] : [], i < 4 ? 0 : startLogVariance);
    if (i < 4) rows.set('vae.post_quant_conv', i, [[i, 0, 0, 1]]);
  }
}
