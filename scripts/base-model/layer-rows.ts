/** @file Sets single rows of a network's layers before it is trained. */

import type { FlatWeights } from './flat-weights.ts';

/** Bias behind a norm where silu is nearly straight, its value and its slope there. */
export const straight = 3;
export const siluAtStraight = straight / (1 + Math.exp(-straight));
export const slopeAtStraight = 1.088;

/** Rewrites single rows of convolutions in a vector of weights. */
export class LayerRows {
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
