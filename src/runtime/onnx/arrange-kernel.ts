/** @file Convolution kernels in the layouts that run fastest. */

/** [out, in, kh, kw]. */
export type KernelShape = readonly [number, number, number, number];

/** How a kernel [out, in, kh, kw] is laid out. */
export interface KernelLayout {
  /**
   * With its first two dimensions swapped and its taps in reverse: with it, the input gradient of a
   * convolution of stride 1 is a convolution of the cotangent.
   */
  readonly flipped: boolean;
  /**
   * Channels of a block in ONNX Runtime's blocked layout, [out/b, in/b, kh, kw, b in, b out]; 1 for
   * the plain layout.
   */
  readonly block: number;
}

export const layoutName = ({ flipped, block }: KernelLayout) =>
  `${flipped ? 'flipped' : 'straight'}${block}`;

/** The shape under which an arranged kernel is fed. */
export function arrangedShape(
  [out, channels, kh, kw]: KernelShape,
  { flipped }: Pick<KernelLayout, 'flipped'>,
): KernelShape {
  return flipped ? [channels, out, kh, kw] : [out, channels, kh, kw];
}

/**
 * The kernel in another layout.
 *
 * @param weight [out, in, kh, kw]
 * @param shape of `weight`; with blocks, out and in are multiples of their size
 */
export function arrangeKernel(
  weight: Float32Array,
  shape: KernelShape,
  { flipped, block }: KernelLayout,
): Float32Array {
  const [, channels, kh, kw] = shape;
  const [rows, columns] = arrangedShape(shape, { flipped });
  const arranged = new Float32Array(weight.length);
  const taps = kh * kw;
  const square = block * block;
  // Of the source, for a step along the result's rows, columns and taps.
  const [rowStep, columnStep] = flipped ? [taps, channels * taps] : [channels * taps, taps];
  const [firstTap, tapStep] = flipped ? [taps - 1, -1] : [0, 1];
  let to = 0;
  for (let rowBlock = 0; rowBlock < rows; rowBlock += block) {
    for (let columnBlock = 0; columnBlock < columns; columnBlock += block) {
      for (let row = 0; row < block; row++) {
        for (let column = 0; column < block; column++) {
          let from = (rowBlock + row) * rowStep + (columnBlock + column) * columnStep + firstTap;
          for (let at = to + column * block + row; at < to + taps * square; at += square) {
            arranged[at] = weight[from]!;
            from += tapStep;
          }
        }
      }
      to += taps * square;
    }
  }
  return arranged;
}
