/**
 * @file Group norm of images with their channels innermost, with the SiLU after it where there is one, and
 * its input gradient, with what is added to it (Wu and He 2018, arXiv:1803.08494). Two launches each: sums
 * of parts of an image, then what they are for. Sums are made in a fixed order.
 */

import type { ComputeType } from '../rules/rule.ts';
import { type Launch, packWidth } from './kernel.ts';
import { kernelSource } from './kernel-source.ts';

/** Threads that a block has at least, if one row of packs is not more. */
const wantedThreads = 256;
const mostThreads = 1024;
/** Shared memory that any block may have without asking. */
const sharedBytes = 48 * 1024;
/** Blocks that fill a large GPU. */
const wantedBlocks = 1024;
/** Parts of an image, whose sums each block of the second launch adds up. */
const mostParts = 128;
/** Threads that add up one group. */
const mostAdders = 32;

/** Images [images, channels, pixels]. */
export interface GroupNormSize {
  readonly images: number;
  readonly channels: number;
  readonly pixels: number;
  readonly groups: number;
}

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

/** A thread has one pack of channels of every ROWS-th pixel of a part. */
const start = `
#define GROUP_CHANNELS (CHANNELS / GROUPS)
#define ROW_PACKS (CHANNELS / WIDTH)

struct Place { int channel, row, begin, end; long long image; };

__device__ inline Place placeOf(int pixels, int partPixels) {
  Place place;
  place.channel = (threadIdx.x % ROW_PACKS) * WIDTH;
  place.row = threadIdx.x / ROW_PACKS;
  place.begin = blockIdx.x * partPixels + place.row;
  place.end = min((int)(blockIdx.x + 1) * partPixels, pixels);
  place.image = (long long)blockIdx.y * pixels * CHANNELS;
  return place;
}

/** Sums of the groups of this part, from those of each thread's channels. */
__device__ inline void writeSums(const float* first, const float* second, float* sums) {
  __shared__ float byChannel[2][ROWS * CHANNELS];
  __shared__ float byAdder[2][GROUPS * ADDERS];
  for (int j = 0; j < WIDTH; j++) {
    byChannel[0][threadIdx.x * WIDTH + j] = first[j];
    byChannel[1][threadIdx.x * WIDTH + j] = second[j];
  }
  __syncthreads();
  const int group = threadIdx.x / ADDERS;
  if (group < GROUPS) {
    float a = 0.0f, b = 0.0f;
    for (int i = threadIdx.x % ADDERS; i < ROWS * GROUP_CHANNELS; i += ADDERS) {
      const int at = i / GROUP_CHANNELS * CHANNELS + group * GROUP_CHANNELS + i % GROUP_CHANNELS;
      a += byChannel[0][at];
      b += byChannel[1][at];
    }
    byAdder[0][threadIdx.x] = a;
    byAdder[1][threadIdx.x] = b;
  }
  __syncthreads();
  if (threadIdx.x < GROUPS) {
    float a = 0.0f, b = 0.0f;
    for (int i = 0; i < ADDERS; i++) {
      a += byAdder[0][threadIdx.x * ADDERS + i];
      b += byAdder[1][threadIdx.x * ADDERS + i];
    }
    float* to = sums + (((long long)blockIdx.y * GROUPS + threadIdx.x) * gridDim.x + blockIdx.x) * 2;
    to[0] = a;
    to[1] = b;
  }
}

/** Sums of the groups of the whole image, for the first GROUPS threads. */
__device__ inline void readSums(const float* sums, float* first, float* second) {
  __shared__ float byAdder[2][GROUPS * ADDERS];
  const int group = threadIdx.x / ADDERS;
  if (group < GROUPS) {
    const float* from = sums + ((long long)blockIdx.y * GROUPS + group) * gridDim.x * 2;
    float a = 0.0f, b = 0.0f;
    for (int i = threadIdx.x % ADDERS; i < gridDim.x; i += ADDERS) {
      a += from[2 * i];
      b += from[2 * i + 1];
    }
    byAdder[0][threadIdx.x] = a;
    byAdder[1][threadIdx.x] = b;
  }
  __syncthreads();
  *first = *second = 0.0f;
  if (threadIdx.x < GROUPS) {
    for (int i = 0; i < ADDERS; i++) {
      *first += byAdder[0][threadIdx.x * ADDERS + i];
      *second += byAdder[1][threadIdx.x * ADDERS + i];
    }
  }
}
`;

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
  const added = (of: (array: string, offset: string) => string, at: string, channel: string) =>
    [
      terms.image && ` + ${of('other', at)}`,
      terms.perImage && ` + ${of('ofImage', `(long long)blockIdx.y * CHANNELS + ${channel}`)}`,
      terms.perChannel && ` + ${of('ofChannel', channel)}`,
    ]
      .filter(Boolean)
      .join('');
  const element = (array: string, at: string) => `toFloat(${array}[${at}])`;
  const ofPack = (array: string) => `${array}Pack.at[j]`;
  return `
extern "C" __global__ void __launch_bounds__(ROW_PACKS * ROWS) groupNormStatistics(
    const T* __restrict__ x, ${termParameters(terms)}
    float* __restrict__ sums, int pixels, int partPixels) {
  const Place place = placeOf(pixels, partPixels);
  ${terms.perImage ? 'const Pack ofImagePack = load(ofImage + (long long)blockIdx.y * CHANNELS + place.channel);' : ''}
  ${terms.perChannel ? 'const Pack ofChannelPack = load(ofChannel + place.channel);' : ''}
  float offsets[WIDTH], first[WIDTH], second[WIDTH];
  for (int j = 0; j < WIDTH; j++) {
    const int channel = (place.channel + j) / GROUP_CHANNELS * GROUP_CHANNELS;
    offsets[j] = rounded(toFloat(x[place.image + channel])${added(element, 'place.image + channel', 'channel')});
    first[j] = second[j] = 0.0f;
  }
#pragma unroll 4
  for (int pixel = place.begin; pixel < place.end; pixel += ROWS) {
    const long long at = place.image + (long long)pixel * CHANNELS + place.channel;
    Pack pack = load(x + at);
    ${terms.image ? 'const Pack otherPack = load(other + at);' : ''}
    ${
      isSum(terms)
        ? `for (int j = 0; j < WIDTH; j++) pack.at[j] = rounded(pack.at[j]${added(ofPack, '', '')});
    store(total + at, pack);`
        : ''
    }
    for (int j = 0; j < WIDTH; j++) {
      const float d = pack.at[j] - offsets[j];
      first[j] += d;
      second[j] += d * d;
    }
  }
  writeSums(first, second, sums);
}
`;
};

const forward = (silu: boolean) => `
extern "C" __global__ void __launch_bounds__(ROW_PACKS * ROWS) groupNorm(
    const T* __restrict__ x, const float* __restrict__ sums,
    const T* __restrict__ scale, const T* __restrict__ bias, T* __restrict__ y,
    float* __restrict__ means, float* __restrict__ rstds, float epsilon, int pixels, int partPixels) {
  __shared__ float groupMeans[GROUPS], groupRstds[GROUPS];
  const Place place = placeOf(pixels, partPixels);
  const T* image = x + place.image;
  float sum, squares;
  readSums(sums, &sum, &squares);
  if (threadIdx.x < GROUPS) {
    const float count = (float)pixels * GROUP_CHANNELS;
    const float distance = sum / count;
    const float mean = toFloat(image[threadIdx.x * GROUP_CHANNELS]) + distance;
    const float rstd = rsqrtf(fmaxf(squares / count - distance * distance, 0.0f) + epsilon);
    groupMeans[threadIdx.x] = mean;
    groupRstds[threadIdx.x] = rstd;
    if (blockIdx.x == 0) {
      means[blockIdx.y * GROUPS + threadIdx.x] = mean;
      rstds[blockIdx.y * GROUPS + threadIdx.x] = rstd;
    }
  }
  __syncthreads();
  const Pack scales = load(scale + place.channel);
  const Pack biases = load(bias + place.channel);
  float factors[WIDTH], addends[WIDTH];
  for (int j = 0; j < WIDTH; j++) {
    const int group = (place.channel + j) / GROUP_CHANNELS;
    factors[j] = groupRstds[group] * scales.at[j];
    addends[j] = biases.at[j] - groupMeans[group] * factors[j];
  }
#pragma unroll 4
  for (int pixel = place.begin; pixel < place.end; pixel += ROWS) {
    const long long at = (long long)pixel * CHANNELS + place.channel;
    Pack pack = load(image + at);
    for (int j = 0; j < WIDTH; j++) {
      const float z = pack.at[j] * factors[j] + addends[j];
      pack.at[j] = ${silu ? 'z * sigmoid(z)' : 'z'};
    }
    store(y + place.image + at, pack);
  }
}
`;

/** Of a pack: its channels' constants; then of each pixel the norm and the gradient of the scaled norm. */
const gradientStart = (silu: boolean) => `
  const Pack scales = load(scale + place.channel);
  ${silu ? 'const Pack biases = load(bias + place.channel);' : ''}
  float channelMeans[WIDTH], channelRstds[WIDTH];
  for (int j = 0; j < WIDTH; j++) {
    const int group = blockIdx.y * GROUPS + (place.channel + j) / GROUP_CHANNELS;
    channelMeans[j] = means[group];
    channelRstds[j] = rstds[group];
  }
`;
const gradientOfPixel = (silu: boolean) => `
    const long long at = place.image + (long long)pixel * CHANNELS + place.channel;
    const Pack xs = load(x + at);
    Pack scaled = load(ct + at);
    float normed[WIDTH];
    for (int j = 0; j < WIDTH; j++) {
      normed[j] = (xs.at[j] - channelMeans[j]) * channelRstds[j];
      ${
        silu
          ? `const float z = normed[j] * scales.at[j] + biases.at[j];
      const float s = sigmoid(z);
      scaled.at[j] *= s * (1.0f + z * (1.0f - s));`
          : ''
      }
      scaled.at[j] *= scales.at[j];
    }
`;

const gradientParameters = (silu: boolean) => `
    const T* __restrict__ x, const T* __restrict__ ct, const T* __restrict__ scale,
    ${silu ? 'const T* __restrict__ bias, ' : ''}
    const float* __restrict__ means, const float* __restrict__ rstds,`;

const gradientStatistics = (silu: boolean) => `
extern "C" __global__ void __launch_bounds__(ROW_PACKS * ROWS) groupNormGradStatistics(${gradientParameters(silu)}
    float* __restrict__ sums, int pixels, int partPixels) {
  const Place place = placeOf(pixels, partPixels);
  ${gradientStart(silu)}
  float first[WIDTH], second[WIDTH];
  for (int j = 0; j < WIDTH; j++) first[j] = second[j] = 0.0f;
#pragma unroll 2
  for (int pixel = place.begin; pixel < place.end; pixel += ROWS) {
    ${gradientOfPixel(silu)}
    for (int j = 0; j < WIDTH; j++) {
      first[j] += scaled.at[j];
      second[j] += scaled.at[j] * normed[j];
    }
  }
  writeSums(first, second, sums);
}
`;

const backward = ({ silu, adds }: GroupNormExtras) => `
extern "C" __global__ void __launch_bounds__(ROW_PACKS * ROWS) groupNormGrad(${gradientParameters(silu)}
    const float* __restrict__ sums, ${adds ? 'const T* __restrict__ rest, ' : ''}
    T* __restrict__ dx, int pixels, int partPixels) {
  __shared__ float groupSums[GROUPS], groupProducts[GROUPS];
  const Place place = placeOf(pixels, partPixels);
  float sum, product;
  readSums(sums, &sum, &product);
  if (threadIdx.x < GROUPS) {
    const float count = (float)pixels * GROUP_CHANNELS;
    groupSums[threadIdx.x] = sum / count;
    groupProducts[threadIdx.x] = product / count;
  }
  __syncthreads();
  ${gradientStart(silu)}
#pragma unroll 2
  for (int pixel = place.begin; pixel < place.end; pixel += ROWS) {
    ${gradientOfPixel(silu)}
    ${adds ? 'const Pack more = load(rest + at);' : ''}
    for (int j = 0; j < WIDTH; j++) {
      const int group = (place.channel + j) / GROUP_CHANNELS;
      const float centred = scaled.at[j] - groupSums[group] - normed[j] * groupProducts[group];
      scaled.at[j] = ${adds ? 'more.at[j] + ' : ''}channelRstds[j] * centred;
    }
    store(dx + at, scaled);
  }
}
`;

/** Pixels that a block takes at once: so many that it has enough threads. */
function rowsAtOnce(compute: ComputeType, channels: number): number {
  return Math.max(1, Math.floor(wantedThreads / (channels / packWidth(compute))));
}

/** Threads that add up one group: a power of two. */
const addersOf = (block: number, groups: number) =>
  2 ** Math.floor(Math.log2(Math.min(mostAdders, block / groups)));

/** Whether channels are loaded in whole packs, and a block has a thread for each group and room for its sums. */
export function takesGroupNorm(
  compute: ComputeType,
  { channels, groups }: Pick<GroupNormSize, 'channels' | 'groups'>,
): boolean {
  const width = packWidth(compute);
  const rows = rowsAtOnce(compute, channels);
  const threads = (channels / width) * rows;
  if (channels % width !== 0 || threads < groups || threads > mostThreads) return false;
  // Of f32: two of each channel, of each adder, and of each group.
  const floats = 2 * (rows * channels + groups * addersOf(threads, groups) + groups);
  return 4 * floats <= sharedBytes;
}

/** Pixels of a part, and parts of an image. */
function partsOf(compute: ComputeType, { images, channels, pixels }: GroupNormSize) {
  const rows = rowsAtOnce(compute, channels);
  const wanted = Math.min(mostParts, Math.ceil(wantedBlocks / images), Math.ceil(pixels / rows));
  const partPixels = Math.ceil(pixels / wanted / rows) * rows;
  return { rows, partPixels, parts: Math.ceil(pixels / partPixels) };
}

/** Elements of the sums that the first launch gives: two of each group of each part. */
export const groupNormSums = (compute: ComputeType, size: GroupNormSize): number =>
  size.images * size.groups * partsOf(compute, size).parts * 2;

function launch(
  compute: ComputeType,
  size: GroupNormSize,
  entry: string,
  body: string,
  epsilon?: number,
): Launch {
  const { images, channels, groups, pixels } = size;
  const { rows, partPixels, parts } = partsOf(compute, size);
  const block = (channels / packWidth(compute)) * rows;
  const adders = addersOf(block, groups);
  const defines = { CHANNELS: channels, GROUPS: groups, ROWS: rows, ADDERS: adders };
  return {
    kernel: { entry, source: kernelSource(compute, defines, start + body) },
    grid: [parts, images],
    block,
    scalars: [
      ...(epsilon === undefined ? [] : [{ f32: epsilon }]),
      { i32: pixels },
      { i32: partPixels },
    ],
  };
}

/**
 * Inputs: x [images, pixels, channels], then the terms that there are; results: their sum where there are
 * any, and the sums of parts.
 */
export const groupNormStatisticsLaunch = (
  compute: ComputeType,
  size: GroupNormSize,
  terms: GroupNormTerms,
): Launch => launch(compute, size, 'groupNormStatistics', statistics(terms));

/**
 * Inputs: x, sums, scale, bias; results: the norm, with SiLU where there is one, and each group's mean and
 * reciprocal deviation in f32 [images, groups].
 */
export const groupNormLaunch = (
  compute: ComputeType,
  size: GroupNormSize,
  epsilon: number,
  { silu }: GroupNormExtras,
): Launch => launch(compute, size, 'groupNorm', forward(silu), epsilon);

/**
 * Inputs: x, the result's gradient, scale, bias where there is a SiLU, means, reciprocal deviations; result:
 * sums.
 */
export const groupNormGradStatisticsLaunch = (
  compute: ComputeType,
  size: GroupNormSize,
  { silu }: GroupNormExtras,
): Launch => launch(compute, size, 'groupNormGradStatistics', gradientStatistics(silu));

/** The same inputs, sums, and what is added where `adds`; result: x's gradient. */
export const groupNormGradLaunch = (
  compute: ComputeType,
  size: GroupNormSize,
  extras: GroupNormExtras,
): Launch => launch(compute, size, 'groupNormGrad', backward(extras));
