/** @file Axes of a chart: round tick values, their labels, and the way from a value to a pixel. */

/** A stretch of values with the ticks on it. */
export interface Axis {
  readonly min: number;
  readonly max: number;
  readonly ticks: readonly number[];
  /** The distance of two ticks. */
  readonly tickStep: number;
}

/** 1, 2 or 5 times a power of ten: the least of them that is not below. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const factor = [1, 2, 5].find((f) => f * power >= value * (1 - 1e-9)) ?? 10;
  return Number((factor * power).toPrecision(12));
}

/** Multiples of the step, each the nearest number to its decimal form. */
function multiples(first: number, last: number, step: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) =>
    Number(((first + i) * step).toPrecision(12)),
  );
}

/** An axis for values of the given stretch that starts and ends at a tick. */
export function wideAxis(min: number, max: number, intervals: number): Axis {
  const span = max > min ? max - min : Math.abs(max) || 1;
  const tickStep = roundUp(span / intervals);
  const first = Math.floor(min / tickStep + 1e-9);
  const last = Math.max(first + 1, Math.ceil(max / tickStep - 1e-9));
  const ticks = multiples(first, last, tickStep);
  return { min: ticks[0]!, max: ticks.at(-1)!, ticks, tickStep };
}

/** An axis of whole numbers that ends where the values end, with ticks inside. */
export function tightAxis(min: number, max: number, intervals: number): Axis {
  const tickStep = Math.max(1, roundUp(Math.max(1, max - min) / intervals));
  const ticks = multiples(Math.ceil(min / tickStep), Math.floor(max / tickStep), tickStep);
  // One value stands in the middle.
  const [from, to] = max > min ? [min, max] : [min - 1, max + 1];
  return { min: from, max: to, ticks: ticks.length > 0 ? ticks : [min], tickStep };
}

/** A tick's label, with the decimals that its step needs: `0.15`, `2000`, `5e-5`. */
export function tickLabel(value: number, tickStep: number): string {
  if (value === 0) return '0';
  if (tickStep < 1e-3 || Math.abs(value) >= 1e6) {
    const digits = Math.floor(Math.log10(Math.abs(value)) + 1e-9);
    const decimals = Math.max(0, digits - Math.floor(Math.log10(tickStep) + 1e-9));
    const [mantissa, exponent] = value.toExponential(decimals).split('e');
    const short = decimals > 0 ? mantissa?.replace(/\.?0+$/, '') : mantissa;
    return `${short}e${Number(exponent)}`;
  }
  return value.toFixed(Math.max(0, -Math.floor(Math.log10(tickStep) + 1e-9)));
}

/** The pixel of a value where the axis goes from one pixel to another. */
export function pixelOf({ min, max }: Axis, value: number, from: number, to: number): number {
  return from + ((value - min) / (max - min)) * (to - from);
}
