/**
 * @file GEGLU: of rows p = [a | b], a·gelu(b), with the exact GELU (Shazeer 2020, arXiv:2002.05202), and the
 * gradient of p from that of the result, written as it lies.
 */

import type { ComputeType } from '../rules/rule.ts';
import { type Kernel, type Launch, packWidth } from './kernel.ts';
import { kernelSource } from './kernel-source.ts';

/** Threads of a block. */
const block = 256;

/**
 * Phi(x), the normal distribution, and phi(x), its density. With 16 bits erf is that of Abramowitz and Stegun,
 * 7.1.26, which is within 1.5e-7 and takes one exponential for both.
 */
const normal = {
  f32: `
__device__ inline void normal(float x, float* distribution, float* density) {
  *distribution = 0.5f * (1.0f + erff(x * 0.70710678f));
  *density = 0.39894228f * expf(-0.5f * x * x);
}
`,
  half: `
__device__ inline void normal(float x, float* distribution, float* density) {
  const float e = __expf(-0.5f * x * x);
  const float t = __fdividef(1.0f, 1.0f + 0.3275911f * 0.70710678f * fabsf(x));
  const float polynomial =
    t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
  const float tail = 0.5f * polynomial * e;
  *distribution = x < 0.0f ? tail : 1.0f - tail;
  *density = 0.39894228f * e;
}
`,
};

/** One thread for WIDTH elements of a result of [rows, COLUMNS]. */
const start = `
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  const int packs = COLUMNS / WIDTH;
  if (i >= (long long)rows * packs) return;
  const long long row = i / packs;
  const int column = (int)(i % packs) * WIDTH;
  const long long left = row * 2 * COLUMNS + column;
`;

const forward = `
extern "C" __global__ void geglu(const T* __restrict__ p, T* __restrict__ y, int rows) {
  ${start}
  const Pack a = load(p + left);
  const Pack b = load(p + left + COLUMNS);
  Pack result;
#pragma unroll
  for (int j = 0; j < WIDTH; j++) {
    float distribution, density;
    normal(b.at[j], &distribution, &density);
    result.at[j] = a.at[j] * b.at[j] * distribution;
  }
  store(y + row * COLUMNS + column, result);
}
`;

const backward = `
extern "C" __global__ void gegluGrad(
    const T* __restrict__ p, const T* __restrict__ ct, T* __restrict__ dp, int rows) {
  ${start}
  const Pack a = load(p + left);
  const Pack b = load(p + left + COLUMNS);
  const Pack d = load(ct + row * COLUMNS + column);
  Pack da, db;
#pragma unroll
  for (int j = 0; j < WIDTH; j++) {
    float distribution, density;
    normal(b.at[j], &distribution, &density);
    da.at[j] = d.at[j] * b.at[j] * distribution;
    db.at[j] = d.at[j] * a.at[j] * (distribution + b.at[j] * density);
  }
  store(dp + left, da);
  store(dp + left + COLUMNS, db);
}
`;

function kernel(compute: ComputeType, columns: number, entry: string, body: string): Kernel {
  const source = kernelSource(
    compute,
    { COLUMNS: columns },
    normal[compute === 'f32' ? 'f32' : 'half'] + body,
  );
  return { entry, source };
}

function launch(compute: ComputeType, rows: number, columns: number, made: Kernel): Launch {
  const threads = (rows * columns) / packWidth(compute);
  return { kernel: made, grid: [Math.ceil(threads / block), 1], block, scalars: [{ i32: rows }] };
}

/** Whether rows of this many columns of a result can be loaded in whole packs. */
export const takesGeglu = (compute: ComputeType, columns: number): boolean =>
  columns % packWidth(compute) === 0;

/** Inputs: p [rows, 2·columns]; result: [rows, columns]. */
export const gegluLaunch = (compute: ComputeType, rows: number, columns: number): Launch =>
  launch(compute, rows, columns, kernel(compute, columns, 'geglu', forward));

/** Inputs: p [rows, 2·columns], the result's gradient [rows, columns]; result: p's gradient. */
export const gegluGradLaunch = (compute: ComputeType, rows: number, columns: number): Launch =>
  launch(compute, rows, columns, kernel(compute, columns, 'gegluGrad', backward));
