/** @file Prints what bench/gpu.sh has measured: a line for each case, as a table for docs/benchmarks.md. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CaseResult, Figures } from './peer-figures.ts';

const [folder = 'results'] = process.argv.slice(2);

const medianOf = (figures: Figures | undefined) => figures?.step_s.median;
const seconds = (value: number | undefined) => (value === undefined ? '–' : value.toFixed(4));
const share = (value: number | undefined) =>
  value === undefined ? '–' : `${(100 * value).toFixed(0)} %`;
const times = (value: number | undefined) => (value === undefined ? '–' : `${value.toFixed(2)}×`);

const names = [
  'case',
  'ours, s/step',
  'eager',
  'compiled',
  'against eager',
  'against compiled',
  'memory of eager',
  'floor of our step',
  'loss difference',
];

function row({ case: name, sides, ratios, curves }: CaseResult): string[] {
  const ours = sides['ours']?.[0];
  const [eager, compiled] = ['peer eager', 'peer compiled default'] as const;
  const own = medianOf(ours);
  const floor = ours?.floor && own ? ours.floor.floor_s / own : undefined;
  const difference = curves[eager]?.mean;
  return [
    name,
    seconds(own),
    seconds(medianOf(sides[eager]?.[0])),
    seconds(medianOf(sides[compiled]?.[0])),
    times(ratios[eager]?.time),
    times(ratios[compiled]?.time),
    share(ratios[eager]?.memory),
    share(floor),
    difference === undefined ? '–' : difference.toExponential(1),
  ];
}

const line = (cells: readonly string[]) => process.stdout.write(`| ${cells.join(' | ')} |\n`);

/** One result for each case: a file may have what another has not. */
function byCase(results: readonly CaseResult[]): CaseResult[] {
  const merged = new Map<string, CaseResult>();
  for (const result of results) {
    const known = merged.get(result.case) ?? result;
    merged.set(result.case, {
      case: result.case,
      failed: [...known.failed, ...result.failed],
      sides: { ...result.sides, ...known.sides },
      ratios: { ...result.ratios, ...known.ratios },
      curves: { ...result.curves, ...known.curves },
    });
  }
  return [...merged.values()];
}

const files = readdirSync(folder).filter((name) => /^peers-.*\.json$/.test(name));
line(names);
line(names.map(() => '---'));
const results = files
  .sort()
  .flatMap((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')) as CaseResult[]);
for (const result of byCase(results)) line(row(result));
