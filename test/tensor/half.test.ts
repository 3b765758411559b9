/** @file Conversions between f32 and the 16-bit floats, over all of their patterns. */

import { describe, expect, test } from 'vitest';
import {
  bf16Bits,
  bf16ToF32,
  f16Bits,
  f16ToF32,
  f32ToBf16,
  f32ToF16,
} from '../../src/tensor/half.ts';

const patterns = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
const infinity = Number.POSITIVE_INFINITY;

const isNaNPattern = {
  f16: (bits: number) => (bits & 0x7fff) > 0x7c00,
  bf16: (bits: number) => (bits & 0x7fff) > 0x7f80,
} as const;

describe.each([
  { name: 'f16', decode: f16ToF32, encode: f32ToF16, bitsOf: f16Bits },
  { name: 'bf16', decode: bf16ToF32, encode: f32ToBf16, bitsOf: bf16Bits },
] as const)('$name', ({ name, decode, encode, bitsOf }) => {
  const values = decode(patterns);
  const isNaNBits = isNaNPattern[name];

  test('all patterns come back', () => {
    const back = encode(values);
    const wrong = patterns.filter((bits) =>
      isNaNBits(bits) ? !isNaNBits(back[bits]!) : back[bits] !== bits,
    );
    expect([...wrong]).toEqual([]);
  });

  test('NaN is NaN and nothing else is', () => {
    const wrong = patterns.filter((bits) => Number.isNaN(values[bits]) !== isNaNBits(bits));
    expect([...wrong]).toEqual([]);
    expect(isNaNBits(bitsOf(Number.NaN))).toBe(true);
  });

  test('between two neighbours: the nearer, at halfway the even one, on both sides of zero', () => {
    const wrong: number[] = [];
    for (let bits = 0; Number.isFinite(values[bits + 1]!); bits++) {
      // In f64 the middle and its neighbours are exact; they fit in f32 too.
      const [low, high] = [values[bits]!, values[bits + 1]!];
      const middle = (low + high) / 2;
      const step = (high - low) / 64;
      const even = bits % 2 === 0 ? bits : bits + 1;
      const checks: [number, number][] = [
        [middle - step, bits],
        [middle, even],
        [middle + step, bits + 1],
      ];
      for (const [value, expected] of checks) {
        if (Math.fround(value) !== value) continue;
        if (bitsOf(value) !== expected || bitsOf(-value) !== (expected | 0x8000)) wrong.push(value);
      }
    }
    expect(wrong).toEqual([]);
  });

  test('zeros keep their sign', () => {
    expect([bitsOf(0), bitsOf(-0)]).toEqual([0, 0x8000]);
    expect(Object.is(values[0x8000], -0)).toBe(true);
  });

  test('a given array is filled', () => {
    const out = new Float32Array(4);
    expect(decode(patterns.subarray(1, 5), out)).toBe(out);
    expect(out).toEqual(values.slice(1, 5));
  });
});

test('known values of f16', () => {
  const known: [number, number][] = [
    [0x3c00, 1],
    [0xc000, -2],
    [0x7bff, 65504],
    [0x0400, 2 ** -14],
    [0x03ff, 1023 * 2 ** -24],
    [0x0001, 2 ** -24],
    [0x3555, 0.333251953125],
    [0x7c00, infinity],
    [0xfc00, -infinity],
  ];
  for (const [bits, value] of known) {
    expect(f16ToF32(Uint16Array.of(bits))[0]).toBe(value);
    expect(f16Bits(value)).toBe(bits);
  }
  // What is beyond the largest value by half a step is infinite, what is below half the smallest 0.
  expect([65519.99, 65520, 1e30].map(f16Bits)).toEqual([0x7bff, 0x7c00, 0x7c00]);
  expect([2 ** -25, 2 ** -25 * 1.001, 1e-30].map(f16Bits)).toEqual([0, 1, 0]);
});

test('known values of bf16', () => {
  const known: [number, number][] = [
    [0x3f80, 1],
    [0xc000, -2],
    [0x4049, 3.140625],
    [0x7f80, infinity],
    [0x0001, 2 ** -133],
  ];
  for (const [bits, value] of known) {
    expect(bf16ToF32(Uint16Array.of(bits))[0]).toBe(value);
    expect(bf16Bits(value)).toBe(bits);
  }
  expect(bf16Bits(3.4028234663852886e38)).toBe(0x7f80);
  expect(bf16Bits(-3.4028234663852886e38)).toBe(0xff80);
});
