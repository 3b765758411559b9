/**
 * @file What all kernels begin with: the element type T, and Pack, the WIDTH elements of a load of 16
 * bytes as f32. Arithmetic is in f32 whatever T is. No header is included: NVRTC alone has none.
 */

import type { ComputeType } from '../rules/rule.ts';
import { packWidth } from './kernel.ts';

const conversions: { readonly [C in ComputeType]: string } = {
  f32: `
typedef float T;
typedef float4 Bits;
__device__ inline void unpack(const Bits& bits, float* x) {
  x[0] = bits.x; x[1] = bits.y; x[2] = bits.z; x[3] = bits.w;
}
__device__ inline Bits packed(const float* x) {
  Bits bits;
  bits.x = x[0]; bits.y = x[1]; bits.z = x[2]; bits.w = x[3];
  return bits;
}
__device__ inline float toFloat(T x) { return x; }
__device__ inline float rounded(float x) { return x; }
`,
  bf16: `
typedef unsigned short T;
typedef uint4 Bits;
__device__ inline float toFloat(T x) { return __uint_as_float((unsigned)x << 16); }
__device__ inline T toElement(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  T y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
#else
  unsigned bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return (T)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
#endif
}
`,
  f16: `
typedef unsigned short T;
typedef uint4 Bits;
#ifdef __CUDA_ARCH__
__device__ inline float toFloat(T x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
  return y;
}
__device__ inline T toElement(float x) {
  T y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}
#endif
`,
};

/** Of types of 16 bits: two elements in a word, the first one in its lower half. */
const halves = (compute: 'bf16' | 'f16') => `
__device__ inline unsigned toElements(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  unsigned word;
  asm("cvt.rn.${compute}x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
#else
  return (unsigned)toElement(low) | ((unsigned)toElement(high) << 16);
#endif
}
__device__ inline float rounded(float x) { return toFloat(toElement(x)); }
__device__ inline void unpack(const Bits& bits, float* x) {
  const unsigned words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    x[2 * i] = toFloat((T)(words[i] & 0xffffu));
    x[2 * i + 1] = toFloat((T)(words[i] >> 16));
  }
}
__device__ inline Bits packed(const float* x) {
  unsigned words[4];
#pragma unroll
  for (int i = 0; i < 4; i++) words[i] = toElements(x[2 * i], x[2 * i + 1]);
  Bits bits;
  bits.x = words[0]; bits.y = words[1]; bits.z = words[2]; bits.w = words[3];
  return bits;
}
`;

const packs = `
struct Pack { float at[WIDTH]; };
__device__ inline Pack unpacked(const Bits& bits) {
  Pack pack;
  unpack(bits, pack.at);
  return pack;
}
__device__ inline Pack load(const T* from) { return unpacked(*(const Bits*)from); }
__device__ inline void store(T* to, const Pack& pack) { *(Bits*)to = packed(pack.at); }
`;

const exactSigmoid = `
__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
`;
/** Of results that are rounded to 16 bits: the hardware's power of two and reciprocal, both within 2^-22. */
const fastSigmoid = `
#ifdef __CUDA_ARCH__
__device__ inline float sigmoid(float x) {
  float power, y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(-1.4426950408889634f * x));
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(1.0f + power));
  return y;
}
#else
${exactSigmoid}
#endif
`;

/** The whole source of a kernel. `defines` are numbers that are fixed when it is compiled. */
export function kernelSource(
  compute: ComputeType,
  defines: { readonly [name: string]: number },
  body: string,
): string {
  const constants = Object.entries({ WIDTH: packWidth(compute), ...defines }).map(
    ([name, value]) => `#define ${name} ${value}\n`,
  );
  return [
    ...constants,
    conversions[compute],
    compute === 'f32' ? '' : halves(compute),
    packs,
    compute === 'f32' ? exactSigmoid : fastSigmoid,
    body,
  ].join('');
}
