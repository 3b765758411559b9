/** @file The picture of a run: loss, smoothed loss, held-out loss and learning rate over the steps. */

import { type Axis, pixelOf, tickLabel, tightAxis, wideAxis } from './axis.ts';
import { downsample, type Point } from './downsample.ts';
import { encodePng } from './encode-png.ts';
import { fitText, measureText, svgText } from './svg-text.ts';

/** A run in numbers; `losses`, `smoothed` and `learningRates` have one entry for each of `steps`. */
export interface LossCurve {
  readonly title: string;
  /** In rising order. */
  readonly steps: readonly number[];
  readonly losses: readonly number[];
  readonly smoothed: readonly number[];
  readonly learningRates: readonly number[];
  /** Losses on pictures that are not trained on, measured now and then. */
  readonly heldOut?: readonly { readonly step: number; readonly loss: number }[];
}

const width = 1000;
const height = 520;
/** The edges of the plot in pixels. */
const plot = { left: 76, right: 916, top: 84, bottom: 464 };
/** Of the losses of single steps this share is on the picture: a few high ones don't flatten the rest. */
const shownShare = 0.99;

const colors = {
  ink: '#222222',
  grey: '#666666',
  grid: '#e6e6e6',
  loss: '#a9c4e6',
  smoothed: '#1b57a6',
  heldOut: '#d2561c',
  learningRate: '#3f9a5f',
} as const;

/** One value at one step. */
interface Sample {
  readonly step: number;
  readonly value: number;
}

function finiteSamples(steps: readonly number[], values: readonly number[]): Sample[] {
  return steps
    .map((step, i) => ({ step, value: values[i]! }))
    .filter(({ value }) => Number.isFinite(value));
}

const largest = (numbers: readonly number[]) => numbers.reduce((a, b) => Math.max(a, b), 0);
const least = (numbers: readonly number[]) => numbers.reduce((a, b) => Math.min(a, b), 0);
const valuesOf = (samples: readonly Sample[]) => samples.map(({ value }) => value);

/** Holds all of the smoothed and held-out losses, and most of the single ones. */
function lossAxis(losses: readonly Sample[], lines: readonly Sample[]): Axis {
  const sorted = valuesOf(losses).sort((a, b) => a - b);
  const usual = sorted.slice(0, Math.ceil(sorted.length * shownShare));
  const values = [...usual, ...valuesOf(lines)];
  return wideAxis(least(values), largest(values), 6);
}

/** From the first step to the last. */
function stepAxis(steps: readonly number[]): Axis {
  const first = steps.reduce((a, b) => Math.min(a, b), steps[0] ?? 0);
  return tightAxis(first, largest(steps), 10);
}

/**
 * A line through the samples, and a dot on each if there is but one or dots are wanted. It leaves the
 * picture, but not by more than its height: SVG drawing gives up on very large coordinates.
 */
function svgLine(
  samples: readonly Sample[],
  [steps, values]: readonly [Axis, Axis],
  stroke: { readonly color: string; readonly width: number; readonly dots?: boolean },
): string {
  const points = downsample(
    samples.map(
      ({ step, value }): Point => ({
        x: pixelOf(steps, step, plot.left, plot.right),
        y: Math.max(-height, pixelOf(values, value, plot.bottom, plot.top)),
      }),
    ),
  );
  const path = points.map(({ x, y }) => `${x.toFixed(2)},${y.toFixed(2)}`).join(' ');
  const line = `<polyline points="${path}" fill="none" stroke="${stroke.color}" stroke-width="${stroke.width}" stroke-linejoin="round"/>`;
  if (points.length !== 1 && !stroke.dots) return line;
  const radius = Math.max(2, stroke.width + 1.5);
  const dots = points.map(
    ({ x, y }) =>
      `<circle cx="${x.toFixed(2)}" cy="${y.toFixed(2)}" r="${radius}" fill="${stroke.color}"/>`,
  );
  return line + dots.join('');
}

function svgHorizontal(y: number, color: string): string {
  // Half a pixel off, so that a line of one pixel covers one row.
  const row = Math.round(y) + 0.5;
  return `<path d="M${plot.left} ${row}H${plot.right}" stroke="${color}"/>`;
}

/** Grid lines and ticks of the loss and the steps, and the names of the axes. */
function svgAxes(steps: Axis, losses: Axis): string {
  const style = { size: 12, color: colors.grey };
  const horizontal = losses.ticks.map((value) => {
    const y = pixelOf(losses, value, plot.bottom, plot.top);
    const label = tickLabel(value, losses.tickStep);
    return (
      svgHorizontal(y, colors.grid) +
      svgText(label, { ...style, x: plot.left - 8, baseline: y + 4.5, anchor: 'end' })
    );
  });
  const vertical = steps.ticks.map((value) => {
    const x = pixelOf(steps, value, plot.left, plot.right);
    return (
      `<path d="M${Math.round(x) + 0.5} ${plot.bottom}v5" stroke="${colors.grey}"/>` +
      svgText(String(value), { ...style, x, baseline: plot.bottom + 20, anchor: 'middle' })
    );
  });
  const middle = (plot.left + plot.right) / 2;
  return [
    ...horizontal,
    ...vertical,
    svgHorizontal(plot.bottom, colors.grey),
    svgText('loss', { ...style, x: plot.left - 8, baseline: plot.top - 14, anchor: 'end' }),
    svgText('step', { ...style, x: middle, baseline: plot.bottom + 42, anchor: 'middle' }),
  ].join('');
}

/** Ticks of the learning rate on the right. */
function svgRateAxis(rates: Axis): string {
  const style = { size: 12, color: colors.learningRate };
  const labels = rates.ticks.map((value) => {
    const y = pixelOf(rates, value, plot.bottom, plot.top);
    const label = tickLabel(value, rates.tickStep);
    return svgText(label, { ...style, x: plot.right + 8, baseline: y + 4.5 });
  });
  const name = { ...style, x: width - 12, baseline: plot.top - 14, anchor: 'end' } as const;
  return labels.join('') + svgText('learning rate', name);
}

interface LegendEntry {
  readonly name: string;
  readonly color: string;
  readonly width: number;
}

/** Lines and names in one row, above the plot. */
function svgLegend(entries: readonly LegendEntry[]): string {
  const style = { size: 12, color: colors.ink };
  const baseline = plot.top - 34;
  let x = plot.left;
  const parts = entries.map(({ name, color, width }) => {
    const line = `<path d="M${x} ${baseline - 3.5}h22" stroke="${color}" stroke-width="${width}"/>`;
    const text = svgText(name, { ...style, x: x + 28, baseline });
    x += 28 + measureText(name, style) + 26;
    return line + text;
  });
  return parts.join('');
}

function legendEntries(smoothed: readonly Sample[], heldOut: readonly Sample[]): LegendEntry[] {
  const withLast = (name: string, samples: readonly Sample[]) =>
    samples.length > 0 ? `${name}, ${samples.at(-1)?.value.toPrecision(3)} at the end` : name;
  return [
    { name: 'loss of each step', color: colors.loss, width: 2 },
    { name: withLast('smoothed', smoothed), color: colors.smoothed, width: 2.5 },
    ...(heldOut.length > 0
      ? [{ name: withLast('held out', heldOut), color: colors.heldOut, width: 2 }]
      : []),
    { name: 'learning rate', color: colors.learningRate, width: 1.5 },
  ];
}

/**
 * A PNG of 1000 × 520 pixels. Values that are not finite are left out; runs of any length fit, also of
 * one step or none.
 */
export async function renderLossCurve(curve: LossCurve): Promise<Buffer> {
  const count = curve.steps.length;
  for (const values of [curve.losses, curve.smoothed, curve.learningRates]) {
    if (values.length !== count) {
      throw new Error(`internal: ${values.length} values for a curve of ${count} steps`);
    }
  }
  const losses = finiteSamples(curve.steps, curve.losses);
  const smoothed = finiteSamples(curve.steps, curve.smoothed);
  const rates = finiteSamples(curve.steps, curve.learningRates);
  const measured = curve.heldOut ?? [];
  const heldOut = finiteSamples(
    measured.map(({ step }) => step),
    measured.map(({ loss }) => loss),
  );
  const steps = stepAxis([...curve.steps, ...heldOut.map(({ step }) => step)]);
  const lossScale = lossAxis(losses, [...smoothed, ...heldOut]);
  const rateScale = wideAxis(0, largest(valuesOf(rates)), 5);
  const title = { size: 17, bold: true };
  const clip = `<clipPath id="plot"><rect x="${plot.left}" y="${plot.top - 3}" width="${plot.right - plot.left + 3}" height="${plot.bottom - plot.top + 6}"/></clipPath>`;
  const overlay = [
    svgText(fitText(curve.title, width - 2 * 24, title), {
      ...title,
      x: 24,
      baseline: 28,
      color: colors.ink,
    }),
    svgLegend(legendEntries(smoothed, heldOut)),
    svgAxes(steps, lossScale),
    svgRateAxis(rateScale),
    `${clip}<g clip-path="url(#plot)">`,
    svgLine(losses, [steps, lossScale], { color: colors.loss, width: 1 }),
    svgLine(rates, [steps, rateScale], { color: colors.learningRate, width: 1.5 }),
    svgLine(smoothed, [steps, lossScale], { color: colors.smoothed, width: 2 }),
    svgLine(heldOut, [steps, lossScale], { color: colors.heldOut, width: 1.5, dots: true }),
    '</g>',
  ].join('');
  const rgb = new Uint8Array(width * height * 3).fill(255);
  return encodePng({ width, height, rgb }, overlay);
}
