/** @file Two-dimensional convolution and its two cotangents. */

import type { ConvAttrs } from '../../graph/ops.ts';
import type { Shape } from '../../tensor/shape.ts';
import type { Kernels } from './kernel.ts';

type Size4 = readonly [number, number, number, number];

/** One convolution of x [n, inner, h, w] by weight [outer, inner, kh, kw] to y [n, outer, oh, ow]. */
interface Plan {
  readonly n: number;
  readonly inner: number;
  readonly outer: number;
  /** Elements of one channel of x and of y. */
  readonly inputArea: number;
  readonly outputArea: number;
  readonly stride: number;
  /**
   * For each element of the kernel, row-major: runs of output pixels as (output offset, input
   * offset, length). A run's output pixels are neighbours, its input pixels `stride` apart.
   */
  readonly runs: readonly Int32Array[];
}

/** Output positions [first, end) along one side at which kernel offset `k` is inside the input. */
function span(
  k: number,
  pad: number,
  size: number,
  outSize: number,
  stride: number,
): readonly [number, number] {
  const first = Math.max(0, Math.ceil((pad - k) / stride));
  const end = Math.min(outSize, Math.floor((size - 1 + pad - k) / stride) + 1);
  return [first, end];
}

function planConvolution(x: Shape, weight: Shape, y: Shape, { stride, pads }: ConvAttrs): Plan {
  const [n, inner, height, width] = x as Size4;
  const [outer, , kernelHeight, kernelWidth] = weight as Size4;
  const [, , outHeight, outWidth] = y as Size4;
  const [top, left] = pads;
  const runs: Int32Array[] = [];
  for (let ky = 0; ky < kernelHeight; ky++) {
    const [firstY, endY] = span(ky, top, height, outHeight, stride);
    for (let kx = 0; kx < kernelWidth; kx++) {
      const [firstX, endX] = span(kx, left, width, outWidth, stride);
      const list: number[] = [];
      for (let oy = firstY; oy < endY && firstX < endX; oy++) {
        const iy = oy * stride + ky - top;
        const ix = firstX * stride + kx - left;
        list.push(oy * outWidth + firstX, iy * width + ix, endX - firstX);
      }
      runs.push(Int32Array.from(list));
    }
  }
  const [inputArea, outputArea] = [height * width, outHeight * outWidth];
  return { n, inner, outer, inputArea, outputArea, stride, runs };
}

export const convolutionKernels: Kernels<'conv2d' | 'conv2dInputGrad' | 'conv2dWeightGrad'> = {
  conv2d: (node, [x, weight, bias], out) => {
    const plan = planConvolution(
      node.inputs[0].shape,
      node.inputs[1].shape,
      node.shape,
      node.attrs,
    );
    const { n, inner, outer, inputArea, outputArea, stride, runs } = plan;
    const sums = new Float64Array(outputArea);
    for (let plane = 0; plane < n * outer; plane++) {
      const o = plane % outer;
      const image = (plane - o) / outer;
      sums.fill(bias ? bias[o]! : 0);
      for (let c = 0; c < inner; c++) {
        const source = (image * inner + c) * inputArea;
        for (let tap = 0; tap < runs.length; tap++) {
          const factor = weight[(o * inner + c) * runs.length + tap]!;
          const list = runs[tap]!;
          for (let r = 0; r < list.length; r += 3) {
            const to = list[r]!;
            const from = source + list[r + 1]!;
            const length = list[r + 2]!;
            for (let i = 0; i < length; i++) sums[to + i]! += factor * x[from + i * stride]!;
          }
        }
      }
      out.set(sums, plane * outputArea);
    }
  },
  // dx[iy, ix] = Σ ct[oy, ox]·weight[ky, kx] over all outputs that read the pixel.
  conv2dInputGrad: (node, [ct, weight], out) => {
    const plan = planConvolution(
      node.shape,
      node.inputs[1].shape,
      node.inputs[0].shape,
      node.attrs,
    );
    const { n, inner, outer, inputArea, outputArea, stride, runs } = plan;
    const sums = new Float64Array(inputArea);
    for (let plane = 0; plane < n * inner; plane++) {
      const c = plane % inner;
      const image = (plane - c) / inner;
      sums.fill(0);
      for (let o = 0; o < outer; o++) {
        const source = (image * outer + o) * outputArea;
        for (let tap = 0; tap < runs.length; tap++) {
          const factor = weight[(o * inner + c) * runs.length + tap]!;
          const list = runs[tap]!;
          for (let r = 0; r < list.length; r += 3) {
            const from = source + list[r]!;
            const to = list[r + 1]!;
            const length = list[r + 2]!;
            for (let i = 0; i < length; i++) sums[to + i * stride]! += factor * ct[from + i]!;
          }
        }
      }
      out.set(sums, plane * inputArea);
    }
  },
  // dweight[ky, kx] = Σ x[iy, ix]·ct[oy, ox] over images and outputs.
  conv2dWeightGrad: (node, [x, ct], out) => {
    const plan = planConvolution(
      node.inputs[0].shape,
      node.shape,
      node.inputs[1].shape,
      node.attrs,
    );
    const { n, inner, outer, inputArea, outputArea, stride, runs } = plan;
    for (let pair = 0; pair < outer * inner; pair++) {
      const c = pair % inner;
      const o = (pair - c) / inner;
      for (let tap = 0; tap < runs.length; tap++) {
        const list = runs[tap]!;
        let sum = 0;
        for (let image = 0; image < n; image++) {
          const sourceX = (image * inner + c) * inputArea;
          const sourceCt = (image * outer + o) * outputArea;
          for (let r = 0; r < list.length; r += 3) {
            const y = sourceCt + list[r]!;
            const from = sourceX + list[r + 1]!;
            const length = list[r + 2]!;
            for (let i = 0; i < length; i++) sum += ct[y + i]! * x[from + i * stride]!;
          }
        }
        out[pair * runs.length + tap] = sum;
      }
    }
  },
};
