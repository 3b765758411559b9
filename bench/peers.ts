/**
 * @file Times our training step and PyTorch's alternately, so that both meet the same machine, and
 * prints the ratios. The peer is a script that makes the same step with diffusers and peft and takes
 * the options below; it is not part of this repository.
 *
 *     npx tsx bench/peers.ts --peer peer_bench.py --python venv/bin/python --diffusers diffusers/src
 */

import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { printed, type Summary, summarize } from './statistics.ts';

const { values: options } = parseArgs({
  options: {
    peer: { type: 'string' },
    python: { type: 'string', default: 'python3' },
    /** Folder of diffusers' sources, unless Python finds the package. */
    diffusers: { type: 'string' },
    resolution: { type: 'string', default: '256' },
    batch: { type: 'string', default: '1' },
    rank: { type: 'string', default: '16' },
    threads: { type: 'string', default: '2' },
    steps: { type: 'string', default: '5' },
    /** How often each of the two is run. */
    rounds: { type: 'string', default: '2' },
    checkpointing: { type: 'boolean', default: false },
    /** Threads sleep while they wait, on both sides, so that processor seconds count work alone. */
    'no-spinning': { type: 'boolean', default: false },
    /** A file for all figures. */
    json: { type: 'string' },
  },
});

const print = (line: string) => process.stdout.write(`${line}\n`);
const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), 'bench-'));
const report = join(folder, 'report.json');

/** What both programs write. */
interface Figures {
  readonly step_s: Summary;
  readonly peak_rss_gib: number;
  readonly cpu_s_per_step?: Summary;
  readonly host?: { readonly cpu_s_per_step: Summary };
}

const processorOf = (figures: Figures) =>
  (figures.cpu_s_per_step ?? figures.host!.cpu_s_per_step).median;

const common = [
  ...['--resolution', options.resolution, '--batch', options.batch, '--rank', options.rank],
  ...['--threads', options.threads, '--steps', options.steps, '--warmup', '1', '--json', report],
  ...(options.checkpointing ? ['--checkpointing'] : []),
];

async function figuresOf(command: string, args: readonly string[]): Promise<Figures> {
  const env = { ...process.env };
  if (options['no-spinning']) env['OMP_WAIT_POLICY'] = 'passive';
  await run(command, args, { env, maxBuffer: 2 ** 26 });
  return JSON.parse(readFileSync(report, 'utf8')) as Figures;
}

const ours = () =>
  figuresOf(process.execPath, [
    ...process.execArgv,
    join(import.meta.dirname, 'step.ts'),
    ...common,
    ...(options['no-spinning'] ? ['--no-spinning'] : []),
  ]);

const theirs = (peer: string) =>
  figuresOf(options.python, [
    peer,
    ...common,
    ...(options.diffusers ? ['--diffusers', options.diffusers] : []),
  ]);

function describe(name: string, rounds: readonly Figures[]): void {
  print(
    `${name}: step s ${printed(summarize(rounds.map(({ step_s }) => step_s.median)))}, ` +
      `processor s ${printed(summarize(rounds.map(processorOf)))}, ` +
      `peak RSS GiB ${printed(summarize(rounds.map(({ peak_rss_gib }) => peak_rss_gib)))}`,
  );
}

async function main(): Promise<void> {
  if (!options.peer) throw new Error('--peer is needed: the path of the script that times PyTorch');
  const [our, their]: [Figures[], Figures[]] = [[], []];
  for (let round = 0; round < Number(options.rounds); round++) {
    their.push(await theirs(options.peer));
    our.push(await ours());
    const [a, b] = [our.at(-1)!, their.at(-1)!];
    print(
      `round ${round}: ${a.step_s.median.toFixed(2)} s to ${b.step_s.median.toFixed(2)} s, ` +
        `ratio ${(a.step_s.median / b.step_s.median).toFixed(3)}; processor ratio ` +
        `${(processorOf(a) / processorOf(b)).toFixed(3)}`,
    );
  }
  describe('sdl-train', our);
  describe('PyTorch  ', their);
  if (options.json) writeFileSync(options.json, JSON.stringify({ our, their }, null, 1));
}

try {
  await main();
} finally {
  rmSync(folder, { recursive: true });
}
