/**
 * @file Layer norm of rows, with the sum that it is of where there is one, and its input gradient, with
 * what is added to it (Ba et al. 2016, arXiv:1607.06450). One warp takes one row, and holds it.
 */

import type { ComputeType } from '../rules/rule.ts';
import { type Launch, packWidth } from './kernel.ts';
import { kernelSource } from './kernel-source.ts';

/** Threads of a warp. */
const warp = 32;
/** Rows, and so warps, of a block. */
const rowsAtOnce = 4;
/** Packs that a thread may hold of a row. */
const mostPacks = 10;

const start = `
__device__ inline float sumOfWarp(float x) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
  return x;
}
`;

/** The row of this warp; packs of a row are dealt to its threads in turn. */
const row = `
  const int row = blockIdx.x * ${rowsAtOnce} + threadIdx.x / ${warp};
  const int lane = threadIdx.x % ${warp};
  if (row >= rows) return;
  const long long first = (long long)row * CHANNELS;
`;
const eachPack = `
#pragma unroll
  for (int i = 0; i < PACKS; i++) {
    const int channel = (lane + i * ${warp}) * WIDTH;
    if (channel >= CHANNELS) continue;
`;

const forward = (sums: boolean) => `
extern "C" __global__ void layerNorm(
    const T* __restrict__ x, ${sums ? 'const T* __restrict__ other, ' : ''}
    const T* __restrict__ scale, const T* __restrict__ bias,
    ${sums ? 'T* __restrict__ total, ' : ''}T* __restrict__ y,
    float* __restrict__ means, float* __restrict__ rstds, float epsilon, int rows) {
  ${row}
  Pack held[PACKS];
  float sum = 0.0f;
  ${eachPack}
    held[i] = load(x + first + channel);
    ${
      sums
        ? `const Pack more = load(other + first + channel);
    for (int j = 0; j < WIDTH; j++) held[i].at[j] = rounded(held[i].at[j] + more.at[j]);
    store(total + first + channel, held[i]);`
        : ''
    }
    for (int j = 0; j < WIDTH; j++) sum += held[i].at[j];
  }
  const float mean = sumOfWarp(sum) / CHANNELS;
  float squares = 0.0f;
  ${eachPack}
    for (int j = 0; j < WIDTH; j++) {
      const float d = held[i].at[j] - mean;
      squares += d * d;
    }
  }
  const float rstd = rsqrtf(sumOfWarp(squares) / CHANNELS + epsilon);
  ${eachPack}
    const Pack s = load(scale + channel);
    const Pack b = load(bias + channel);
    for (int j = 0; j < WIDTH; j++) {
      held[i].at[j] = (held[i].at[j] - mean) * rstd * s.at[j] + b.at[j];
    }
    store(y + first + channel, held[i]);
  }
  if (lane == 0) {
    means[row] = mean;
    rstds[row] = rstd;
  }
}
`;

const backward = (adds: boolean) => `
extern "C" __global__ void layerNormGrad(
    const T* __restrict__ x, const T* __restrict__ ct, ${adds ? 'const T* __restrict__ rest, ' : ''}
    const T* __restrict__ scale, const float* __restrict__ means, const float* __restrict__ rstds,
    T* __restrict__ dx, int rows) {
  ${row}
  const float mean = means[row];
  const float rstd = rstds[row];
  Pack normed[PACKS], scaled[PACKS];
  float sum = 0.0f, product = 0.0f;
  ${eachPack}
    normed[i] = load(x + first + channel);
    scaled[i] = load(ct + first + channel);
    const Pack s = load(scale + channel);
    for (int j = 0; j < WIDTH; j++) {
      normed[i].at[j] = (normed[i].at[j] - mean) * rstd;
      scaled[i].at[j] *= s.at[j];
      sum += scaled[i].at[j];
      product += scaled[i].at[j] * normed[i].at[j];
    }
  }
  sum = sumOfWarp(sum) / CHANNELS;
  product = sumOfWarp(product) / CHANNELS;
  ${eachPack}
    ${adds ? 'const Pack more = load(rest + first + channel);' : ''}
    for (int j = 0; j < WIDTH; j++) {
      const float d = rstd * (scaled[i].at[j] - sum - normed[i].at[j] * product);
      scaled[i].at[j] = ${adds ? 'more.at[j] + ' : ''}d;
    }
    store(dx + first + channel, scaled[i]);
  }
}
`;

function launch(
  compute: ComputeType,
  [rows, channels]: readonly [rows: number, channels: number],
  entry: string,
  body: string,
  epsilon?: number,
): Launch {
  const packs = Math.ceil(channels / packWidth(compute) / warp);
  const source = kernelSource(compute, { CHANNELS: channels, PACKS: packs }, start + body);
  return {
    kernel: { entry, source },
    grid: [Math.ceil(rows / rowsAtOnce), 1],
    block: rowsAtOnce * warp,
    scalars: [...(epsilon === undefined ? [] : [{ f32: epsilon }]), { i32: rows }],
  };
}

/** Whether rows of this many channels are taken. */
export function takesLayerNorm(compute: ComputeType, channels: number): boolean {
  const width = packWidth(compute);
  return channels % width === 0 && channels <= mostPacks * warp * width;
}

/**
 * Inputs: x [rows, channels], what is added to it first where `sums`, scale, bias; results: that sum where
 * `sums`, the norm, and each row's mean and reciprocal deviation in f32.
 */
export const layerNormLaunch = (
  compute: ComputeType,
  size: readonly [rows: number, channels: number],
  epsilon: number,
  { sums }: { readonly sums: boolean },
): Launch => launch(compute, size, 'layerNorm', forward(sums), epsilon);

/**
 * Inputs: x [rows, channels], the norm's gradient, what is added where `adds`, scale, means, reciprocal
 * deviations; result: x's gradient.
 */
export const layerNormGradLaunch = (
  compute: ComputeType,
  size: readonly [rows: number, channels: number],
  { adds }: { readonly adds: boolean },
): Launch => launch(compute, size, 'layerNormGrad', backward(adds));
