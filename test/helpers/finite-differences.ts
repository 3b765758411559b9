/** @file Derivatives of a function along a direction, by differences. */

/**
 * df(x + h·direction)/dh at h = 0 by the central formula with five points, whose error is of order
 * h⁴·f⁽⁵⁾: with f in f64 and h = 1e-3 both it and the rounding are far below 1e-6 of f's scale.
 */
export async function directionalDerivative(
  f: (x: Float64Array) => Promise<number>,
  x: ArrayLike<number>,
  direction: ArrayLike<number>,
  h = 1e-3,
): Promise<number> {
  const at = (step: number) => f(Float64Array.from(x, (v, i) => v + step * direction[i]!));
  const near = (await at(h)) - (await at(-h));
  const far = (await at(2 * h)) - (await at(-2 * h));
  return (8 * near - far) / (12 * h);
}
