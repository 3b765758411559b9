/**
 * @file Group norm of images with their channels innermost, with the SiLU after it where there is one, and
 * its input gradient, with what is added to it (Wu and He 2018, arXiv:1803.08494). Two launches each: sums
 * of parts of an image, then what they are for. Sums are made in a fixed order.
 */

import type { ComputeType } from '../rules/rule.ts';
import {
  type GroupNormSize,
  groupNormBlock,
  mostParts,
  normedParts,
  summedParts,
} from './group-norm-blocks.ts';
import { groupNormStart } from './group-norm-start.ts';
import type { KernelScalar, Launch } from './kernel.ts';
import { kernelSource } from './kernel-source.ts';

/** Packs of each image that a thread loads before it uses the first one; and where there are two or three images. */
const batch = 4;
const sumBatch = 2;
/** Threads that share a multiprocessor's registers: 64 for each, and 80 where more is held of each channel. */
const residentThreads = 1024;
const residentSumThreads = 768;

/** What the kernels add besides: SiLU after the norm, and another value to the gradient. */
export interface GroupNormExtras {
  readonly silu: boolean;
  readonly adds?: boolean;
}

/** What is added to the images before the norm, where they are a sum. */
export interface GroupNormTerms {
  /** Another image [images, pixels, channels]. */
  readonly image: boolean;
  /** [images, channels]. */
  readonly perImage: boolean;
  /** [channels]. */
  readonly perChannel: boolean;
}

const isSum = ({ image, perImage, perChannel }: GroupNormTerms) => image || perImage || perChannel;

/** What an image is the sum of: terms of each channel are added to each pixel. */
const termParameters = ({ image, perImage, perChannel }: GroupNormTerms) =>
  [
    image && 'const T* __restrict__ other, ',
    perImage && 'const T* __restrict__ ofImage, ',
    perChannel && 'const T* __restrict__ ofChannel, ',
    isSum({ image, perImage, perChannel }) && 'T* __restrict__ total, ',
  ]
    .filter(Boolean)
    .join('');

/** Deviations are taken from one element of each group, so that a large mean costs no digits. */
const statistics = (terms: GroupNormTerms) => {
  const { image, perImage, perChannel } = terms;
  const hasAddends = perImage || perChannel;
  const ofChannel = (channel: string) =>
    [
      perImage && `toFloat(ofImage[blockIdx.y * CHANNELS + ${channel}])`,
      perChannel && `toFloat(ofChannel[${channel}])`,
    ]
      .filter(Boolean)
      .join(' + ');
  const total = (x: string, other: string, addend: string) =>
    `rounded(${x}${image ? ` + ${other}` : ''}${hasAddends ? ` + (${addend})` : ''})`;
  return `
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) groupNormStatistics(
    const T* __restrict__ x, ${termParameters(terms)}
    float2* __restrict__ sums, int pixels, int partPixels) {
  __shared__ float groupOffsets[SLICE_GROUPS];
  const Place place = placeOf(pixels, partPixels);
  const T* from = x + place.at;
  Bits held[BATCH];
  loadBatch(held, from, place.left);
  ${image ? 'const T* fromOther = other + place.at;\n  Bits heldOther[BATCH];\n  loadBatch(heldOther, fromOther, place.left);' : ''}
  if (threadIdx.x < SLICE_GROUPS) {
    const int channel = place.slice * SLICE + threadIdx.x * GROUP_CHANNELS;
    const long long at = (long long)blockIdx.y * pixels * CHANNELS + channel;
    groupOffsets[threadIdx.x] = ${total('toFloat(x[at])', 'toFloat(other[at])', ofChannel('channel'))};
  }
  ${perImage ? 'const Pack imagePack = load(ofImage + blockIdx.y * CHANNELS + place.channel);' : ''}
  ${perChannel ? 'const Pack channelPack = load(ofChannel + place.channel);' : ''}
  ${isSum(terms) ? 'T* to = total + place.at;' : ''}
  __syncthreads();
  float offsets[WIDTH], first[WIDTH], second[WIDTH];
  for (int j = 0; j < WIDTH; j++) {
    offsets[j] = groupOffsets[groupInSlice(place, j)];
    first[j] = second[j] = 0.0f;
  }
  for (int left = place.left; left > 0; left -= BATCH * ROWS) {
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
      if (i * ROWS >= left) continue;
      Pack pack = unpacked(held[i]);
      loadStep(held[i], from, i + BATCH, left);
      ${image ? 'const Pack otherPack = unpacked(heldOther[i]);\n      loadStep(heldOther[i], fromOther, i + BATCH, left);' : ''}
      ${
        isSum(terms)
          ? `for (int j = 0; j < WIDTH; j++) {
        pack.at[j] = ${total('pack.at[j]', 'otherPack.at[j]', [perImage && 'imagePack.at[j]', perChannel && 'channelPack.at[j]'].filter(Boolean).join(' + '))};
      }
      store(to + i * STRIDE, pack);`
          : ''
      }
      for (int j = 0; j < WIDTH; j++) {
        const float d = pack.at[j] - offsets[j];
        first[j] += d;
        second[j] += d * d;
      }
    }
    from += BATCH * STRIDE;
    ${image ? 'fromOther += BATCH * STRIDE;' : ''}
    ${isSum(terms) ? 'to += BATCH * STRIDE;' : ''}
  }
  writeSums(place, first, second, sums);
}
`;
};

const forward = (silu: boolean) => `
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) groupNorm(
    const T* __restrict__ x, const float2* __restrict__ sums,
    const T* __restrict__ scale, const T* __restrict__ bias, T* __restrict__ y,
    float* __restrict__ means, float* __restrict__ rstds,
    float epsilon, int pixels, int partPixels, int parts) {
  // Of each group mean and reciprocal deviation.
  __shared__ float2 norms[SLICE_GROUPS];
  const Place place = placeOf(pixels, partPixels);
  const T* from = x + place.at;
  T* to = y + place.at;
  Bits held[BATCH];
  loadBatch(held, from, place.left);
  const Pack scales = load(scale + place.channel);
  const Pack biases = load(bias + place.channel);
  const int group = threadIdx.x / ADDERS;
  const bool leads = group < SLICE_GROUPS && threadIdx.x % ADDERS == 0;
  float offset = 0.0f;
  if (leads) {
    const int channel = place.slice * SLICE + group * GROUP_CHANNELS;
    offset = toFloat(x[(long long)blockIdx.y * pixels * CHANNELS + channel]);
  }
  const float2 sum = readSums(place, sums, parts);
  if (leads) {
    const float count = (float)pixels * GROUP_CHANNELS;
    const float distance = __fdividef(sum.x, count);
    const float mean = offset + distance;
    const float rstd = rsqrtf(fmaxf(__fdividef(sum.y, count) - distance * distance, 0.0f) + epsilon);
    norms[group] = float2{mean, rstd};
    if (place.part == 0) {
      means[firstGroup(place) + group] = mean;
      rstds[firstGroup(place) + group] = rstd;
    }
  }
  __syncthreads();
  float factors[WIDTH], addends[WIDTH];
  for (int j = 0; j < WIDTH; j++) {
    const float2 norm = norms[groupInSlice(place, j)];
    factors[j] = norm.y * scales.at[j];
    addends[j] = biases.at[j] - norm.x * factors[j];
  }
  for (int left = place.left; left > 0; left -= BATCH * ROWS) {
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
      if (i * ROWS >= left) continue;
      Pack pack = unpacked(held[i]);
      loadStep(held[i], from, i + BATCH, left);
      for (int j = 0; j < WIDTH; j++) {
        const float z = pack.at[j] * factors[j] + addends[j];
        pack.at[j] = ${silu ? 'z * sigmoid(z)' : 'z'};
      }
      store(to + i * STRIDE, pack);
    }
    from += BATCH * STRIDE;
    to += BATCH * STRIDE;
  }
}
`;

const gradientParameters = (silu: boolean) => `
    const T* __restrict__ x, const T* __restrict__ ct, const T* __restrict__ scale,
    ${silu ? 'const T* __restrict__ bias, ' : ''}
    const float* __restrict__ means, const float* __restrict__ rstds,`;

const gradientStart = (silu: boolean) => `
  const Place place = placeOf(pixels, partPixels);
  const T* fromX = x + place.at;
  const T* fromCt = ct + place.at;
  Bits heldX[BATCH], heldCt[BATCH];
  loadBatch(heldX, fromX, place.left);
  loadBatch(heldCt, fromCt, place.left);
  const Pack scales = load(scale + place.channel);
  ${silu ? 'const Pack biases = load(bias + place.channel);' : ''}
`;

/** Of the next pixel. */
const gradientStep = `
      const Pack xs = unpacked(heldX[i]);
      Pack cts = unpacked(heldCt[i]);
      loadStep(heldX[i], fromX, i + BATCH, left);
      loadStep(heldCt[i], fromCt, i + BATCH, left);
`;

/** The scaled norm's gradient, from that of its SiLU. */
const throughSilu = `
        const float s = sigmoid(z);
        cts.at[j] *= s * (1.0f + z * (1.0f - s));
`;

/** Sums of each channel, which has one factor for all pixels. */
const gradientStatistics = (silu: boolean) => `
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) groupNormGradStatistics(${gradientParameters(silu)}
    float2* __restrict__ sums, int pixels, int partPixels) {
  ${gradientStart(silu)}
  float channelMeans[WIDTH], factors[WIDTH], first[WIDTH], second[WIDTH];
  for (int j = 0; j < WIDTH; j++) {
    const int group = firstGroup(place) + groupInSlice(place, j);
    channelMeans[j] = means[group];
    factors[j] = rstds[group] * scales.at[j];
    first[j] = second[j] = 0.0f;
  }
  for (int left = place.left; left > 0; left -= BATCH * ROWS) {
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
      if (i * ROWS >= left) continue;
      ${gradientStep}
      for (int j = 0; j < WIDTH; j++) {
        const float d = xs.at[j] - channelMeans[j];
        ${silu ? `const float z = d * factors[j] + biases.at[j];${throughSilu}` : ''}
        first[j] += cts.at[j];
        second[j] += cts.at[j] * d;
      }
    }
    fromX += BATCH * STRIDE;
    fromCt += BATCH * STRIDE;
  }
  for (int j = 0; j < WIDTH; j++) {
    first[j] *= scales.at[j];
    second[j] *= factors[j];
  }
  writeSums(place, first, second, sums);
}
`;

/** What does not depend on the result's gradient is linear in x: one slope and one shift for each group. */
const backward = ({ silu, adds }: GroupNormExtras) => `
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) groupNormGrad(${gradientParameters(silu)}
    const float2* __restrict__ sums, ${adds ? 'const T* __restrict__ rest, ' : ''}
    T* __restrict__ dx, int pixels, int partPixels, int parts) {
  // Of each group mean, reciprocal deviation, slope and shift.
  __shared__ float4 norms[SLICE_GROUPS];
  ${gradientStart(silu)}
  ${adds ? 'const T* fromRest = rest + place.at;\n  Bits heldRest[BATCH];\n  loadBatch(heldRest, fromRest, place.left);' : ''}
  T* to = dx + place.at;
  const int group = threadIdx.x / ADDERS;
  const bool leads = group < SLICE_GROUPS && threadIdx.x % ADDERS == 0;
  float mean = 0.0f, rstd = 0.0f;
  if (leads) {
    mean = means[firstGroup(place) + group];
    rstd = rstds[firstGroup(place) + group];
  }
  const float2 sum = readSums(place, sums, parts);
  if (leads) {
    const float count = (float)pixels * GROUP_CHANNELS;
    const float slope = -rstd * rstd * __fdividef(sum.y, count);
    norms[group] = float4{mean, rstd, slope, -rstd * __fdividef(sum.x, count) - slope * mean};
  }
  __syncthreads();
  float factors[WIDTH], slopes[WIDTH], shifts[WIDTH]${silu ? ', addends[WIDTH]' : ''};
  for (int j = 0; j < WIDTH; j++) {
    const float4 norm = norms[groupInSlice(place, j)];
    factors[j] = norm.y * scales.at[j];
    slopes[j] = norm.z;
    shifts[j] = norm.w;
    ${silu ? 'addends[j] = biases.at[j] - norm.x * factors[j];' : ''}
  }
  for (int left = place.left; left > 0; left -= BATCH * ROWS) {
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
      if (i * ROWS >= left) continue;
      ${gradientStep}
      ${adds ? 'const Pack more = unpacked(heldRest[i]);\n      loadStep(heldRest[i], fromRest, i + BATCH, left);' : ''}
      for (int j = 0; j < WIDTH; j++) {
        ${silu ? `const float z = xs.at[j] * factors[j] + addends[j];${throughSilu}` : ''}
        cts.at[j] = cts.at[j] * factors[j] + (xs.at[j] * slopes[j] + shifts[j])${adds ? ' + more.at[j]' : ''};
      }
      store(to + i * STRIDE, cts);
    }
    fromX += BATCH * STRIDE;
    fromCt += BATCH * STRIDE;
    ${adds ? 'fromRest += BATCH * STRIDE;' : ''}
    to += BATCH * STRIDE;
  }
}
`;

/** Elements of the sums that the first launch gives: two of each group of each part. */
export const groupNormSums = (compute: ComputeType, size: GroupNormSize): number =>
  size.images * size.groups * summedParts(compute, size).count * 2;

interface Entry {
  readonly name: string;
  readonly body: string;
  readonly batch: number;
  readonly residentThreads: number;
}

function kernelOf(compute: ComputeType, { channels, groups }: GroupNormSize, entry: Entry) {
  const { slice, rows, threads, adders, span } = groupNormBlock(compute, { channels, groups });
  const defines = {
    ...{ CHANNELS: channels, GROUPS: groups, SLICE: slice, ROWS: rows, THREADS: threads },
    ...{ ADDERS: adders, SPAN: span, BATCH: entry.batch, MOST_PARTS: mostParts },
    BLOCKS: Math.max(1, Math.floor(entry.residentThreads / threads)),
  };
  return { entry: entry.name, source: kernelSource(compute, defines, groupNormStart + entry.body) };
}

/** Makes sums of parts. */
function sumLaunch(compute: ComputeType, size: GroupNormSize, entry: Entry): Launch {
  const { slice, threads } = groupNormBlock(compute, size);
  const parts = summedParts(compute, size);
  return {
    kernel: kernelOf(compute, size, entry),
    grid: [parts.count * (size.channels / slice), size.images],
    block: threads,
    scalars: [{ i32: size.pixels }, { i32: parts.pixels }],
  };
}

/** Takes the sums, whose parts may be others than its own. */
function normLaunch(
  compute: ComputeType,
  size: GroupNormSize,
  entry: Entry,
  scalars: readonly KernelScalar[] = [],
): Launch {
  const { slice, threads } = groupNormBlock(compute, size);
  const parts = normedParts(compute, size);
  return {
    kernel: kernelOf(compute, size, entry),
    grid: [parts.count * (size.channels / slice), size.images],
    block: threads,
    scalars: [
      ...scalars,
      { i32: size.pixels },
      { i32: parts.pixels },
      { i32: summedParts(compute, size).count },
    ],
  };
}

const gradients = { batch: sumBatch, residentThreads: residentSumThreads };

/**
 * Inputs: x [images, pixels, channels], then the terms that there are; results: their sum where there are
 * any, and the sums of parts.
 */
export const groupNormStatisticsLaunch = (
  compute: ComputeType,
  size: GroupNormSize,
  terms: GroupNormTerms,
): Launch =>
  sumLaunch(compute, size, {
    name: 'groupNormStatistics',
    body: statistics(terms),
    batch: terms.image ? sumBatch : batch,
    residentThreads: isSum(terms) ? residentSumThreads : residentThreads,
  });

/**
 * Inputs: x, sums, scale, bias; results: the norm, with SiLU where there is one, and each group's mean and
 * reciprocal deviation in f32 [images, groups].
 */
export const groupNormLaunch = (
  compute: ComputeType,
  size: GroupNormSize,
  epsilon: number,
  { silu }: GroupNormExtras,
): Launch =>
  normLaunch(compute, size, { batch, residentThreads, name: 'groupNorm', body: forward(silu) }, [
    { f32: epsilon },
  ]);

/**
 * Inputs: x, the result's gradient, scale, bias where there is a SiLU, means, reciprocal deviations; result:
 * sums.
 */
export const groupNormGradStatisticsLaunch = (
  compute: ComputeType,
  size: GroupNormSize,
  { silu }: GroupNormExtras,
): Launch =>
  sumLaunch(compute, size, {
    ...gradients,
    name: 'groupNormGradStatistics',
    body: gradientStatistics(silu),
  });

/** The same inputs, sums, and what is added where `adds`; result: x's gradient. */
export const groupNormGradLaunch = (
  compute: ComputeType,
  size: GroupNormSize,
  extras: GroupNormExtras,
): Launch =>
  normLaunch(compute, size, { ...gradients, name: 'groupNormGrad', body: backward(extras) });
