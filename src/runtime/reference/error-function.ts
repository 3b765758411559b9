/** @file The complementary error function, to about 1e-15. */

const twoOverSqrtPi = 2 / Math.sqrt(Math.PI);

/**
 * erfc(x) = 1 - erf(x). Below 2.5: erf by its series of positive terms
 * 2/√π·exp(-x²)·Σ 2ⁿx²ⁿ⁺¹/(2n+1)!! (Abramowitz and Stegun 7.1.6). Above: the continued fraction
 * (7.1.14), which keeps the small tail's relative accuracy.
 */
export function erfc(x: number): number {
  const size = Math.abs(x);
  if (size > 27) return x > 0 ? 0 : 2;
  const density = Math.exp(-size * size);
  if (size < 2.5) {
    let term = size;
    let sum = size;
    for (let n = 1; term > sum * 1e-17; n++) {
      term *= (2 * size * size) / (2 * n + 1);
      sum += term;
    }
    const erf = twoOverSqrtPi * density * sum;
    return x < 0 ? 1 + erf : 1 - erf;
  }
  let fraction = size;
  for (let n = 60; n >= 1; n--) fraction = size + n / 2 / fraction;
  const tail = density / (fraction * Math.sqrt(Math.PI));
  return x < 0 ? 2 - tail : tail;
}
