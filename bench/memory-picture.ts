/**
 * @file Draws a file of `bench/step.ts --memory`: host memory over the steps, and the GPU's.
 *
 *     npx tsx bench/memory-picture.ts memory.json memory.png
 */

import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { type Axis, pixelOf, tickLabel, tightAxis, wideAxis } from '../src/train/pictures/axis.ts';
import { encodePng } from '../src/train/pictures/encode-png.ts';
import { fitText, svgText } from '../src/train/pictures/svg-text.ts';
import { growthPerThousand, type MemorySample, type MemorySeries } from './memory-series.ts';

const width = 800;
const height = 360;
const plot = { left: 76, right: 776, top: 76, bottom: 310 };
const ink = '#222222';
const grey = '#666666';

interface Line {
  readonly name: string;
  readonly color: string;
  readonly of: (sample: MemorySample) => number;
}

const hostLine: Line = { name: 'host, resident', color: '#1b57a6', of: ({ host }) => host };
const deviceLine: Line = { name: 'GPU', color: '#3f9a5f', of: ({ device }) => device ?? 0 };

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

function svgLine(
  { color, of }: Line,
  samples: readonly MemorySample[],
  [steps, memory]: readonly [Axis, Axis],
) {
  const points = samples.map((sample) => {
    const x = pixelOf(steps, sample.step, plot.left, plot.right);
    const y = pixelOf(memory, of(sample), plot.bottom, plot.top);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  return `<polyline points="${points.join(' ')}" fill="none" stroke="${color}" stroke-width="2"/>`;
}

/** A PNG of 800 × 360 pixels; the memory's axis starts at 0, so that growth is seen as it is. */
export function drawMemory({ title, samples }: MemorySeries): Promise<Buffer> {
  const lines = samples.some(({ device }) => device !== undefined)
    ? [hostLine, deviceLine]
    : [hostLine];
  const most = Math.max(...lines.flatMap(({ of }) => samples.map(of)));
  const steps = tightAxis(samples[0]?.step ?? 0, samples.at(-1)?.step ?? 1, 10);
  const memory = wideAxis(0, most, 6);
  const legend = lines.map((line, i) => {
    const growth = growthPerThousand(samples, line.of).toFixed(1);
    const text = `${line.name}: ${growth} MiB per 1,000 steps in the second half`;
    return svgText(text, { size: 12, color: line.color, x: plot.left + 340 * i, baseline: 52 });
  });
  const bold = { size: 16, bold: true };
  const overlay = [
    svgText(fitText(title, width - 40, bold), { ...bold, x: 20, baseline: 28, color: ink }),
    ...legend,
    svgAxes(steps, memory),
    ...lines.map((line) => svgLine(line, samples, [steps, memory])),
  ].join('');
  const rgb = new Uint8Array(width * height * 3).fill(255);
  return encodePng({ width, height, rgb }, overlay);
}

async function main(): Promise<void> {
  const [from, to] = process.argv.slice(2);
  if (!from || !to) throw new Error('give a file of --memory and the picture to write');
  const series = JSON.parse(readFileSync(from, 'utf8')) as MemorySeries;
  await writeFile(to, await drawMemory(series));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main();
