/**
 * @file Draws files of `bench/step.ts --memory` and `bench/run-memory.ts`: host memory over the steps, and
 * the GPU's.
 *
 *     npx tsx bench/memory-picture.ts memory.json [more.json] memory.png
 */

import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { type Axis, pixelOf, tickLabel, tightAxis, wideAxis } from '../src/train/pictures/axis.ts';
import { encodePng } from '../src/train/pictures/encode-png.ts';
import { fitText, svgText } from '../src/train/pictures/svg-text.ts';
import { growthPerThousand, type MemorySample, type MemorySeries } from './memory-series.ts';

const width = 800;
const height = 360;
const plot = { left: 76, right: 776, top: 96, bottom: 310 };
const grey = '#666666';

interface Line {
  readonly name: string;
  readonly samples: readonly MemorySample[];
  readonly of: (sample: MemorySample) => number;
}

const colors = ['#1b57a6', '#d2561c', '#3f9a5f', '#7d4fa8'] as const;

/** The lines of a file: the host's, and the GPU's where there is one. */
function linesOf({ title, samples }: MemorySeries): Line[] {
  const host: Line = { name: `${title}, host`, samples, of: (sample) => sample.host };
  if (!samples.some(({ device }) => device !== undefined)) return [host];
  return [host, { name: `${title}, GPU`, samples, of: ({ device }) => device ?? 0 }];
}

function svgAxes(steps: Axis, memory: Axis): string {
  const style = { size: 12, color: grey };
  const rows = memory.ticks.map((value) => {
    const y = Math.round(pixelOf(memory, value, plot.bottom, plot.top)) + 0.5;
    const label = tickLabel(value, memory.tickStep);
    return (
      `<path d="M${plot.left} ${y}H${plot.right}" stroke="#e6e6e6"/>` +
      svgText(label, { ...style, x: plot.left - 8, baseline: y + 4, anchor: 'end' })
    );
  });
  const columns = steps.ticks.map((value) => {
    const x = pixelOf(steps, value, plot.left, plot.right);
    return svgText(String(value), { ...style, x, baseline: plot.bottom + 20, anchor: 'middle' });
  });
  const names = [
    svgText('MiB', { ...style, x: plot.left - 8, baseline: plot.top - 12, anchor: 'end' }),
    svgText('step', {
      ...style,
      x: (plot.left + plot.right) / 2,
      baseline: height - 10,
      anchor: 'middle',
    }),
  ];
  return [...rows, ...columns, ...names].join('');
}

function svgLine({ samples, of }: Line, color: string, steps: Axis, memory: Axis): string {
  const points = samples.map((sample) => {
    const x = pixelOf(steps, sample.step, plot.left, plot.right);
    const y = pixelOf(memory, of(sample), plot.bottom, plot.top);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  return `<polyline points="${points.join(' ')}" fill="none" stroke="${color}" stroke-width="1.5"/>`;
}

/** A PNG of 800 × 360 pixels; the memory's axis starts at 0, so that growth is seen as it is. */
function drawMemory(series: readonly MemorySeries[]): Promise<Buffer> {
  const lines = series.flatMap(linesOf);
  const samples = lines.flatMap((line) => line.samples);
  const most = Math.max(...lines.flatMap(({ of, samples: own }) => own.map(of)));
  const steps = tightAxis(0, Math.max(...samples.map(({ step }) => step)), 10);
  const memory = wideAxis(0, most, 6);
  const legend = lines.map((line, i) => {
    const growth = growthPerThousand(line.samples, line.of).toFixed(1);
    const text = `${line.name}: ${growth} MiB per 1,000 steps in the second half`;
    const style = { size: 12, color: colors[i % colors.length]! };
    const fitted = fitText(text, plot.right - plot.left, style);
    return svgText(fitted, { ...style, x: plot.left, baseline: 22 + 17 * i });
  });
  const overlay = [
    ...legend,
    svgAxes(steps, memory),
    ...lines.map((line, i) => svgLine(line, colors[i % colors.length]!, steps, memory)),
  ].join('');
  const rgb = new Uint8Array(width * height * 3).fill(255);
  return encodePng({ width, height, rgb }, overlay);
}

async function main(): Promise<void> {
  const files = process.argv.slice(2);
  const to = files.pop();
  if (files.length === 0 || !to)
    throw new Error('give files of --memory, and the picture to write');
  const series = files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as MemorySeries);
  await writeFile(to, await drawMemory(series));
}

await main();
