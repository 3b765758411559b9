/** @file Numbers without a pattern that matters, the same each time. */

/** f32 in ±2 around `offset`. */
export const scattered = (size: number, seed: number, offset = 0): Float32Array =>
  Float32Array.from(
    { length: size },
    (_, i) => offset + ((Math.imul(i + 1 + seed * 7919, 0x9e3779b1) >>> 8) / 2 ** 23 - 1) * 2,
  );
