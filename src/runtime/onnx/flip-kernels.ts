/** @file Convolution kernels turned for the input gradient. */

/**
 * W'[i, o, y, x] = W[o, i, kh-1-y, kw-1-x]: with it, the input gradient of a convolution of stride 1
 * is a convolution of the cotangent.
 *
 * @param weight [out, in, kh, kw]
 * @param shape of the result: [in, out, kh, kw]
 */
export function flipKernels(
  weight: Float32Array,
  [channels, out, kh, kw]: readonly [number, number, number, number],
): Float32Array {
  const flipped = new Float32Array(weight.length);
  const taps = kh * kw;
  for (let o = 0; o < out; o++) {
    for (let i = 0; i < channels; i++) {
      const from = (o * channels + i) * taps;
      const to = (i * out + o) * taps + taps - 1;
      for (let t = 0; t < taps; t++) flipped[to - t] = weight[from + t]!;
    }
  }
  return flipped;
}
