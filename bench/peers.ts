/**
 * @file Times our training step and PyTorch's in turn, so that both meet the same machine, and prints
 * the ratios of time and memory, the arithmetic floor, and how far the losses are apart. The peer is a
 * script that makes the same step with diffusers and peft; it is not part of this repository.
 *
 *     npm run bench:peers -- --peer peer_bench.py --python venv/bin/python --case sd15-256-b1
 *     npm run bench:peers -- --executor torch --device cuda --precision bf16 --case sd15-512-b1,sdxl-1024-b1
 *
 * With PEER and PYTHON in the environment the first two can be left out.
 */

import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { type BenchCase, parseCase } from './cases.ts';
import { type CurveDifference, compareCurves } from './compare-curves.ts';
import { cudaIndex, DeviceMemoryWatch } from './device-memory.ts';
import type { CaseResult, Figures } from './peer-figures.ts';
import { summarize } from './statistics.ts';
import { writeStart } from './write-start.ts';

const { values: options } = parseArgs({
  options: {
    case: { type: 'string', default: 'sd15-512-b1' },
    peer: { type: 'string' },
    python: { type: 'string' },
    /** Folder of diffusers' sources, unless Python finds the package. */
    diffusers: { type: 'string' },
    /** How the peer is compiled, each a side of its own: none, default, reduce-overhead, max-autotune. */
    compile: { type: 'string', default: 'none' },
    executor: { type: 'string', default: 'onnx' },
    device: { type: 'string', default: 'cpu' },
    precision: { type: 'string', default: 'f32' },
    'no-cuda-graphs': { type: 'boolean', default: false },
    'no-fused-kernels': { type: 'boolean', default: false },
    rank: { type: 'string', default: '16' },
    threads: { type: 'string', default: '2' },
    steps: { type: 'string', default: '5' },
    warmup: { type: 'string', default: '1' },
    /** How often each side is run. */
    rounds: { type: 'string', default: '1' },
    /** Threads sleep while they wait, on both sides, so that processor seconds count work alone. */
    'no-spinning': { type: 'boolean', default: false },
    /** Lets the peer draw its own weights and noise: then its losses are not compared. */
    'own-start': { type: 'boolean', default: false },
    /** Most seconds of each run of a side; what takes longer is given up. */
    limit: { type: 'string', default: '3600' },
    /** A file for all figures. */
    json: { type: 'string' },
  },
});

const print = (line: string) => process.stdout.write(`${line}\n`);
const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), 'bench-'));
const report = join(folder, 'report.json');
const startFile = join(folder, 'start.safetensors');
const lossesFile = join(folder, 'losses.json');

const peerTypes: Readonly<Record<string, string>> = { f32: 'fp32', bf16: 'bf16', f16: 'fp16' };

type Side = 'ours' | `peer ${string}`;

const processorOf = (figures: Figures) =>
  (figures.cpu_s_per_step ?? figures.host!.cpu_s_per_step).median;

async function figuresOf(command: string, args: readonly string[]): Promise<Figures> {
  const env = { ...process.env };
  if (options['no-spinning']) env['OMP_WAIT_POLICY'] = 'passive';
  const index = cudaIndex(options.device);
  const running = run(command, args, {
    env,
    maxBuffer: 2 ** 26,
    timeout: 1000 * Number(options.limit),
  });
  const { pid } = running.child;
  const watch =
    index === undefined || pid === undefined ? undefined : new DeviceMemoryWatch(index, pid);
  try {
    await running;
  } catch (error) {
    const { stderr, killed } = error as { readonly stderr?: string; readonly killed?: boolean };
    if (killed) throw new Error(`longer than --limit ${options.limit} s`);
    const lines = (stderr ?? String(error)).trim().split('\n');
    const reason = lines.findLast((line) => /error/i.test(line)) ?? lines.at(-1);
    throw new Error(`${command} failed: ${reason}`);
  } finally {
    watch?.stop();
  }
  const figures = JSON.parse(readFileSync(report, 'utf8')) as Figures;
  const gpuMib = watch?.peakMib;
  return gpuMib === undefined ? figures : { ...figures, gpuMib };
}

const common = () => [
  ...['--rank', options.rank, '--threads', options.threads, '--device', options.device],
  ...['--steps', options.steps, '--warmup', options.warmup, '--json', report],
];

const ours = ({ name }: BenchCase) =>
  figuresOf(process.execPath, [
    ...process.execArgv,
    join(import.meta.dirname, `step${import.meta.filename.endsWith('.ts') ? '.ts' : '.js'}`),
    ...['--case', name, '--executor', options.executor, '--precision', options.precision],
    ...common(),
    '--no-phases',
    ...(options['no-cuda-graphs'] ? ['--no-cuda-graphs'] : []),
    ...(options['no-fused-kernels'] ? ['--no-fused-kernels'] : []),
    ...(options['no-spinning'] ? ['--no-spinning'] : []),
  ]);

/** The start's script lies beside the sources, also where this one is compiled. */
const sameStart = () =>
  process.env['PEER_SAME_START'] ?? join(import.meta.dirname, 'peer-same-start.py');

async function theirs(bench: BenchCase, compile: string): Promise<Figures> {
  const peer = options.peer ?? process.env['PEER'];
  if (!peer) throw new Error('--peer is needed: the path of the script that times PyTorch');
  const args = [
    ...['--model', bench.model, '--resolution', String(bench.resolution)],
    ...[
      '--batch',
      String(bench.batch),
      '--dtype',
      peerTypes[options.precision] ?? options.precision,
    ],
    ...['--compile', compile],
    ...common(),
    ...(bench.checkpointing ? ['--checkpointing'] : []),
    ...(bench.tiny ? ['--allow-odd-size'] : []),
    ...(options.diffusers ? ['--diffusers', options.diffusers] : []),
  ];
  const script = options['own-start'] ? [peer] : [sameStart(), startFile, lossesFile, peer];
  const figures = await figuresOf(options.python ?? process.env['PYTHON'] ?? 'python3', [
    ...script,
    ...args,
  ]);
  if (options['own-start']) return figures;
  return { ...figures, losses: JSON.parse(readFileSync(lossesFile, 'utf8')) as number[] };
}

const median = (rounds: readonly Figures[], of: (figures: Figures) => number) =>
  summarize(rounds.map(of)).median;

/** The measure of memory that both sides have: of the GPU, or of the process. */
function memoryOf(rounds: readonly Figures[]): { readonly gib: number; readonly what: string } {
  if (rounds.every(({ gpuMib }) => gpuMib !== undefined)) {
    return { gib: median(rounds, ({ gpuMib }) => gpuMib! / 1024), what: 'GPU' };
  }
  return { gib: median(rounds, ({ peak_rss_gib }) => peak_rss_gib), what: 'host' };
}

function curveText({ steps, mean, largest, lastRatio, agrees }: CurveDifference): string {
  const percent = (share: number) => `${(100 * share).toFixed(3)} %`;
  return (
    `losses of ${steps} steps from the same start: ${agrees ? 'agree' : 'DIFFER'} ` +
    `(mean difference ${percent(mean)}, largest ${percent(largest)}, ours/theirs in the last ten ${lastRatio.toFixed(5)})`
  );
}

/** Ratios to ours, and how far the losses are from ours. */
function compared(
  sides: ReadonlyMap<Side, Figures[]>,
): Pick<CaseResult, 'sides' | 'ratios' | 'curves'> {
  const ratios: Record<string, { time: number; memory: number }> = {};
  const curves: Record<string, CurveDifference> = {};
  const own = sides.get('ours');
  for (const [side, rounds] of own ? sides : []) {
    if (side === 'ours') continue;
    const timeOf = (of: readonly Figures[]) => median(of, ({ step_s }) => step_s.median);
    ratios[side] = {
      time: timeOf(rounds) / timeOf(own!),
      memory: memoryOf(own!).gib / memoryOf(rounds).gib,
    };
    const [mine, other] = [own![0]!.losses, rounds[0]!.losses];
    if (mine && other) curves[side] = compareCurves(mine, other, options.precision);
  }
  return { sides: Object.fromEntries(sides), ratios, curves };
}

function printSide(bench: BenchCase, side: string, { sides, ratios, curves }: CaseResult): void {
  const rounds = sides[side]!;
  const time = median(rounds, ({ step_s }) => step_s.median);
  const { gib, what } = memoryOf(rounds);
  const [ratio, curve, cuda] = [ratios[side], curves[side], rounds[0]!.cuda];
  print(
    `  ${side.padEnd(22)} ${time.toFixed(4)} s/step, ${(bench.batch / time).toFixed(2)} images/s, ` +
      `processor ${median(rounds, processorOf).toFixed(2)} s, ${what} ${gib.toFixed(2)} GiB at most` +
      (cuda ? `, its allocator ${cuda.peak_allocated_gib.toFixed(2)} GiB` : '') +
      (ratio
        ? `; we are ${ratio.time.toFixed(2)}× as fast, with ${(100 * ratio.memory).toFixed(0)} % of its memory`
        : ''),
  );
  if (curve) print(`    ${curveText(curve)}`);
}

function printCase(bench: BenchCase, result: CaseResult): void {
  print(`${bench.name}, ${options.precision}, rank ${options.rank}:`);
  for (const side of Object.keys(result.sides)) printSide(bench, side, result);
  const { floor, flops } = result.sides['ours']?.[0] ?? {};
  if (!floor || !flops) return;
  print(
    `  floor                  ${floor.floor_s.toFixed(4)} s: ${(flops / 1e12).toFixed(3)} TFLOP at ` +
      `${(floor.matmul_gflops / 1000).toFixed(3)} TFLOP/s, the matrix product measured here`,
  );
}

/** @param keep is given what there is after each side, so that a run that is cut off leaves it */
async function compareCase(name: string, keep: (result: CaseResult) => void): Promise<CaseResult> {
  const bench = parseCase(name);
  const sides = new Map<Side, Figures[]>();
  const failed: string[] = [];
  const attempt = async (side: Side, measure: () => Promise<Figures>) => {
    try {
      const figures = await measure();
      sides.set(side, [...(sides.get(side) ?? []), figures]);
      print(`  ${name} ${side}: ${figures.step_s.median.toFixed(4)} s/step`);
    } catch (error) {
      failed.push(`${side}: ${(error as Error).message}`);
      print(`  ${name} ${side} failed: ${(error as Error).message}`);
    }
    keep({ case: name, failed, ...compared(sides) });
  };
  const hasPeer = bench.model !== 'sd21';
  if (!hasPeer) print(`  ${name}: the peer knows SD 1.5 and SDXL alone; ours is timed without it`);
  if (hasPeer && !options['own-start']) {
    await writeStart(startFile, bench, {
      rank: Number(options.rank),
      steps: Number(options.steps) + Number(options.warmup),
      seed: 0,
    });
  }
  for (let round = 0; round < Number(options.rounds); round++) {
    await attempt('ours', () => ours(bench));
    for (const compile of hasPeer ? options.compile.split(',') : []) {
      const side = compile === 'none' ? 'peer eager' : (`peer compiled ${compile}` as const);
      await attempt(side, () => theirs(bench, compile));
    }
  }
  const result: CaseResult = { case: name, failed, ...compared(sides) };
  printCase(bench, result);
  return result;
}

async function main(): Promise<void> {
  const results: CaseResult[] = [];
  const write = (all: readonly CaseResult[]) => {
    if (options.json) writeFileSync(options.json, `${JSON.stringify(all, null, 1)}\n`);
  };
  for (const name of options.case.split(',')) {
    results.push(await compareCase(name, (partial) => write([...results, partial])));
    write(results);
  }
  if (results.every(({ failed }) => failed.length > 0)) process.exitCode = 1;
}

try {
  await main();
} finally {
  rmSync(folder, { recursive: true });
}
