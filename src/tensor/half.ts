/** @file Conversion between f32 and the 16-bit floats: IEEE binary16 and bfloat16. */

/** The 16-bit floats. */
export type HalfType = 'f16' | 'bf16';

/** A tensor that is stored in 16-bit floats, not read yet. */
export interface StoredHalf {
  readonly type: HalfType;
  /** The bits of its elements, row-major. */
  read(): Uint16Array<ArrayBuffer>;
}

/** Whether all values are finite: without an exponent of ones. */
export function isFiniteHalf(bits: Uint16Array, type: HalfType): boolean {
  const exponent = type === 'f16' ? 0x7c00 : 0x7f80;
  // Of thousands of millions at the start of a run: a call for each takes eight times as long, 20 s for SDXL.
  for (let i = 0; i < bits.length; i++) {
    if ((bits[i]! & exponent) === exponent) return false;
  }
  return true;
}

const f32View = new Float32Array(1);
const u32View = new Uint32Array(f32View.buffer);

/** Value of every binary16 bit pattern; 256 KiB, made on first use. */
let halfTable: Float32Array | undefined;

function decodeHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function halfValues(): Float32Array {
  if (!halfTable) {
    halfTable = new Float32Array(65536);
    for (let bits = 0; bits < 65536; bits++) halfTable[bits] = decodeHalf(bits);
  }
  return halfTable;
}

/** Binary16 patterns to floats, into `out`. */
export function f16ToF32(
  bits: Uint16Array,
  out: Float32Array<ArrayBufferLike> = new Float32Array(bits.length),
): Float32Array {
  const table = halfValues();
  for (let i = 0; i < bits.length; i++) out[i] = table[bits[i]!]!;
  return out;
}

/** Bfloat16 patterns to floats, into `out`. */
export function bf16ToF32(
  bits: Uint16Array,
  out: Float32Array<ArrayBufferLike> = new Float32Array(bits.length),
): Float32Array {
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < bits.length; i++) words[i] = bits[i]! << 16;
  return out;
}

/** The binary16 pattern nearest to `value`, ties to even; beyond 65504 it is infinite. */
export function f16Bits(value: number): number {
  f32View[0] = value;
  const word = u32View[0]!;
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  // 0x477ff000 is 65520, halfway between the largest binary16 and the next step.
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // Below 2^-14: a subnormal, counted in units of 2^-24.
    const units = Math.abs(f32View[0]!) * 2 ** 24;
    const floor = Math.floor(units);
    const rest = units - floor;
    return sign | (rest > 0.5 || (rest === 0.5 && floor & 1) ? floor + 1 : floor);
  }
  // 0xc8000000 moves the exponent's bias from 127 to 15; 0xfff and the lowest kept bit round to even.
  return sign | (((magnitude + 0xc8000fff + ((magnitude >>> 13) & 1)) >>> 13) & 0x7fff);
}

/** The bfloat16 pattern nearest to `value`, ties to even. */
export function bf16Bits(value: number): number {
  f32View[0] = value;
  const word = u32View[0]!;
  if ((word & 0x7fffffff) > 0x7f800000) return (word >>> 16) | 0x40;
  return ((word + 0x7fff + ((word >>> 16) & 1)) >>> 16) & 0xffff;
}

/** Floats to binary16 patterns. */
export function f32ToF16(values: ArrayLike<number>): Uint16Array {
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) bits[i] = f16Bits(values[i]!);
  return bits;
}

/** Floats to bfloat16 patterns. */
export function f32ToBf16(values: ArrayLike<number>): Uint16Array {
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) bits[i] = bf16Bits(values[i]!);
  return bits;
}
