/**
 * @file Draws files of `bench/peers.ts --json`: a bar for each side of each case, as many times the eager
 * peer's speed as it has.
 *
 *     npx tsx bench/speed-picture.ts peers.json [more.json] speed.png
 */

import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { encodePng } from '../src/train/pictures/encode-png.ts';
import { svgText } from '../src/train/pictures/svg-text.ts';
import type { CaseResult } from './peer-figures.ts';

const width = 800;
const barHeight = 17;
const barGap = 3;
const caseGap = 20;
const top = 62;
const left = 190;
const right = 640;

const sides = [
  { name: 'ours', label: 'sdl-train', color: '#1b57a6' },
  { name: 'peer compiled default', label: 'diffusers + PEFT, torch.compile', color: '#e0a13c' },
  { name: 'peer eager', label: 'diffusers + PEFT, eager', color: '#b9b9b9' },
] as const;

/** Steps a second of one side; undefined where it was not measured. */
function speedOf(result: CaseResult, side: string): number | undefined {
  const rounds = result.sides[side];
  return rounds?.[0] && 1 / rounds[0].step_s.median;
}

/** `sd15-512-b8` in words. */
function titleOf({ case: name }: CaseResult): string {
  const [model, resolution, batch] = name.split('-');
  const known: Readonly<Record<string, string>> = { sd15: 'SD 1.5', sd21: 'SD 2.1', sdxl: 'SDXL' };
  return `${known[model!] ?? model}, ${resolution}², batch ${batch!.slice(1)}`;
}

/** A PNG of 800 pixels by what the cases need. */
function drawSpeeds(results: readonly CaseResult[]): Promise<Buffer> {
  const caseHeight = sides.length * (barHeight + barGap) + caseGap;
  const height = top + results.length * caseHeight;
  const ratios = results.map((result) => {
    const eager = speedOf(result, 'peer eager');
    return sides.map(({ name }) => {
      const speed = speedOf(result, name);
      return speed && eager ? { speed, ratio: speed / eager } : undefined;
    });
  });
  const most = Math.max(...ratios.flat().map((each) => each?.ratio ?? 0));
  const bars = results.flatMap((result, row) => {
    const begin = top + row * caseHeight;
    const middle = begin + ((barHeight + barGap) * sides.length) / 2;
    const title = { x: left - 12, baseline: middle + 4, anchor: 'end', color: '#222222' } as const;
    return [
      svgText(titleOf(result), { ...title, size: 13, bold: true }),
      ...sides.flatMap(({ color }, i) => {
        const found = ratios[row]![i];
        if (!found) return [];
        const y = begin + i * (barHeight + barGap);
        const length = Math.max(1, (found.ratio / most) * (right - left));
        const text = `${found.ratio.toFixed(2)}×, ${found.speed.toFixed(found.speed < 10 ? 2 : 1)} steps/s`;
        const place = { x: left + length + 8, baseline: y + barHeight - 4, color: '#444444' };
        return [
          `<rect x="${left}" y="${y}" width="${length.toFixed(1)}" height="${barHeight}" fill="${color}"/>`,
          svgText(text, { ...place, size: 12 }),
        ];
      }),
    ];
  });
  const legend = sides.map(({ label, color }, i) => {
    const x = 20 + [0, 110, 370][i]!;
    return (
      `<rect x="${x}" y="18" width="12" height="12" fill="${color}"/>` +
      svgText(label, { x: x + 18, baseline: 29, size: 13, color: '#222222' })
    );
  });
  const rgb = new Uint8Array(width * height * 3).fill(255);
  return encodePng({ width, height, rgb }, [...legend, ...bars].join(''));
}

async function main(): Promise<void> {
  const files = process.argv.slice(2);
  const to = files.pop();
  if (files.length === 0 || !to) throw new Error('give files of --json, and the picture to write');
  const results = files.flatMap((file) => JSON.parse(readFileSync(file, 'utf8')) as CaseResult[]);
  await writeFile(to, await drawSpeeds(results));
}

await main();
