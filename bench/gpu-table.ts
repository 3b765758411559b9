/** @file Prints what bench/gpu.sh has measured: a line for each case, with ratios to ours. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Summary } from './statistics.ts';

const [folder = 'results'] = process.argv.slice(2);
const sides = ['ours', 'calls', 'row-major', 'in-step', 'eager', 'compiled', 'long'] as const;

interface Measured {
  readonly seconds: number;
  /** Of the whole GPU, at most; NaN where nobody looked. */
  readonly mib: number;
}

function read(key: string): Measured | undefined {
  const path = join(folder, `${key}.json`);
  if (!existsSync(path)) return undefined;
  const { step_s } = JSON.parse(readFileSync(path, 'utf8')) as { readonly step_s: Summary };
  const memory = join(folder, `${key}.mib`);
  const mib = existsSync(memory) ? Number(readFileSync(memory, 'utf8')) : Number.NaN;
  return { seconds: step_s.median, mib };
}

const cases = new Set(
  readdirSync(folder).flatMap((name) => {
    const found = /^(.*)-(?:ours|long)\.json$/.exec(name);
    return found ? [found[1]!] : [];
  }),
);
const line = (cells: readonly string[]) =>
  process.stdout.write(`${cells.map((cell) => cell.padEnd(24)).join('')}\n`);

line(['case', 'side', 's/step', 'this time / our time', 'GPU memory, MiB']);
for (const name of [...cases].sort()) {
  const ours = read(`${name}-ours`);
  for (const side of sides) {
    const found = read(`${name}-${side}`);
    if (!found) continue;
    const ratio = ours ? (found.seconds / ours.seconds).toFixed(3) : '';
    line([name, side, found.seconds.toFixed(4), ratio, String(found.mib)]);
  }
}
