/**
 * @file Where the autoencoder's training starts: it passes colours on, eight times smaller and back,
 * and learns the rest. Without that, the norms at its two ends hide what colour a large area has.
 */

import type { FlatWeights } from './flat-weights.ts';

const colours = 3;
/** Channels of one group of the norms at both ends: 96 in 32 groups. */
const groupSize = 3;
/** Constant neighbours of a colour's channel in its group: they keep the norm from following it. */
const anchor = 3;
/** Bias behind the norm, where silu is nearly straight. */
const straight = 3;
const siluAtStraight = straight / (1 + Math.exp(-straight));
/** Undoes the norm's scale, anchor·√(2/3), and silu's slope there, 1.088. */
const regain = (anchor * Math.sqrt(2 / 3)) / 1.088;
/** Log-variance of the latents at the start: hardly any noise. */
const startLogVariance = -6;

/** Rewrites single rows of convolutions. */
class Rows {
  readonly #flat: FlatWeights;
  readonly #values: Float32Array;

  constructor(flat: FlatWeights, values: Float32Array) {
    this.#flat = flat;
    this.#values = values;
  }

  /** Makes output channel `out` nothing but `taps` of input channels, plus a bias. */
  set(
    layer: string,
    out: number,
    taps: readonly (readonly [channel: number, y: number, x: number, weight: number])[],
    bias = 0,
  ): void {
    const [, channels, kh, kw] = this.#flat.places.get(`${layer}.weight`)!.shape as [
      number,
      number,
      number,
      number,
    ];
    const weight = this.#flat.view(this.#values, `${layer}.weight`);
    const row = channels * kh * kw;
    weight.fill(0, out * row, (out + 1) * row);
    for (const [channel, y, x, value] of taps)
      weight[out * row + (channel * kh + y) * kw + x] = value;
    this.#flat.view(this.#values, `${layer}.bias`)[out] = bias;
  }

  biasOfNorm(norm: string, channel: number, bias: number): void {
    this.#flat.view(this.#values, `${norm}.bias`)[channel] = bias;
  }
}

/** Colour c moves to channel 3c, between two constants. */
function anchorColours(rows: Rows, shortcut: string, norm: string): void {
  for (let c = 0; c < colours; c++) {
    rows.set(shortcut, groupSize * c, [[c, 0, 0, 1]]);
    rows.set(shortcut, groupSize * c + 1, [], anchor);
    rows.set(shortcut, groupSize * c + 2, [], -anchor);
    rows.biasOfNorm(norm, groupSize * c, straight);
  }
}

/** The rows of a layer that read the anchored colours. */
function readColours(rows: Rows, layer: string): void {
  for (let c = 0; c < colours; c++) {
    rows.set(layer, c, [[groupSize * c, 1, 1, regain]], -regain * siluAtStraight);
  }
}

/** Changes start values so that colours pass through the shortcuts. */
export function passColours(flat: FlatWeights, values: Float32Array): void {
  const rows = new Rows(flat, values);
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
