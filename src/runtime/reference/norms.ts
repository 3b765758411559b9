/** @file Group and layer normalisation, and their cotangents. */

import type { Elements, Kernels } from './kernel.ts';

/**
 * A value as blocks that are each normalised: element i of block b belongs to channel
 * (b mod groups)·(channels/groups) + floor(i/run).
 */
interface Blocks {
  readonly count: number;
  readonly size: number;
  readonly groups: number;
  readonly channelsPerGroup: number;
  readonly run: number;
}

function groupBlocks(shape: readonly number[], groups: number): Blocks {
  const [n, channels, ...spatial] = shape as [number, number, ...number[]];
  const run = spatial.reduce((product, d) => product * d, 1);
  const channelsPerGroup = channels / groups;
  return { count: n * groups, size: channelsPerGroup * run, groups, channelsPerGroup, run };
}

function layerBlocks(shape: readonly number[]): Blocks {
  const count = shape.slice(0, -1).reduce((product, d) => product * d, 1);
  const size = shape.at(-1)!;
  return { count, size, groups: 1, channelsPerGroup: size, run: 1 };
}

/** Mean, and 1/√(variance + epsilon), of `size` elements from `start`. */
function statistics(
  x: Elements,
  start: number,
  size: number,
  epsilon: number,
): readonly [number, number] {
  let sum = 0;
  for (let i = 0; i < size; i++) sum += x[start + i]!;
  const mean = sum / size;
  let squares = 0;
  for (let i = 0; i < size; i++) squares += (x[start + i]! - mean) ** 2;
  return [mean, 1 / Math.sqrt(squares / size + epsilon)];
}

function normalise(
  { count, size, groups, channelsPerGroup, run }: Blocks,
  epsilon: number,
  [x, scale, bias]: readonly [Elements, Elements, Elements],
  out: Elements,
): void {
  for (let block = 0; block < count; block++) {
    const start = block * size;
    const [mean, invStd] = statistics(x, start, size, epsilon);
    const firstChannel = (block % groups) * channelsPerGroup;
    for (let i = 0; i < size; i++) {
      const channel = firstChannel + Math.floor(i / run);
      out[start + i] = (x[start + i]! - mean) * invStd * scale[channel]! + bias[channel]!;
    }
  }
}

/** With x̂ the normalised x and g = ct·scale: dx = (g - mean(g) - x̂·mean(g·x̂))/std. */
function inputGrad(
  { count, size, groups, channelsPerGroup, run }: Blocks,
  epsilon: number,
  [x, scale, ct]: readonly [Elements, Elements, Elements],
  out: Elements,
): void {
  const g = new Float64Array(size);
  for (let block = 0; block < count; block++) {
    const start = block * size;
    const [mean, invStd] = statistics(x, start, size, epsilon);
    const firstChannel = (block % groups) * channelsPerGroup;
    let sum = 0;
    let sumNormed = 0;
    for (let i = 0; i < size; i++) {
      const value = ct[start + i]! * scale[firstChannel + Math.floor(i / run)]!;
      g[i] = value;
      sum += value;
      sumNormed += value * (x[start + i]! - mean) * invStd;
    }
    for (let i = 0; i < size; i++) {
      const normed = (x[start + i]! - mean) * invStd;
      out[start + i] = (g[i]! - sum / size - (normed * sumNormed) / size) * invStd;
    }
  }
}

/** dscale = Σ ct·x̂ over all elements of a channel. */
function scaleGrad(
  { count, size, groups, channelsPerGroup, run }: Blocks,
  epsilon: number,
  [x, ct]: readonly [Elements, Elements],
  out: Elements,
): void {
  const sums = new Float64Array(out.length);
  for (let block = 0; block < count; block++) {
    const start = block * size;
    const [mean, invStd] = statistics(x, start, size, epsilon);
    const firstChannel = (block % groups) * channelsPerGroup;
    for (let i = 0; i < size; i++) {
      const channel = firstChannel + Math.floor(i / run);
      sums[channel]! += ct[start + i]! * (x[start + i]! - mean) * invStd;
    }
  }
  out.set(sums);
}

export const normKernels: Kernels<
  | 'groupNorm'
  | 'groupNormInputGrad'
  | 'groupNormScaleGrad'
  | 'layerNorm'
  | 'layerNormInputGrad'
  | 'layerNormScaleGrad'
> = {
  groupNorm: ({ inputs: [{ shape }], attrs: { groups, epsilon } }, values, out) =>
    normalise(groupBlocks(shape, groups), epsilon, values, out),
  groupNormInputGrad: ({ inputs: [{ shape }], attrs: { groups, epsilon } }, values, out) =>
    inputGrad(groupBlocks(shape, groups), epsilon, values, out),
  groupNormScaleGrad: ({ inputs: [{ shape }], attrs: { groups, epsilon } }, values, out) =>
    scaleGrad(groupBlocks(shape, groups), epsilon, values, out),
  layerNorm: ({ inputs: [{ shape }], attrs: { epsilon } }, values, out) =>
    normalise(layerBlocks(shape), epsilon, values, out),
  layerNormInputGrad: ({ inputs: [{ shape }], attrs: { epsilon } }, values, out) =>
    inputGrad(layerBlocks(shape), epsilon, values, out),
  layerNormScaleGrad: ({ inputs: [{ shape }], attrs: { epsilon } }, values, out) =>
    scaleGrad(layerBlocks(shape), epsilon, values, out),
};
