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

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type BenchCase, parseCase } from './cases.ts';
import { type CurveDifference, compareCurves } from './compare-curves.ts';
import { cudaIndex } from './device-memory.ts';
import { MeasuredProcess } from './measured-process.ts';
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
    /** On CUDA: compiles all peers at once, before all else; each waits, warm, until it is timed. */
    ahead: { type: 'boolean', default: false },
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
const folder = mkdtempSync(join(tmpdir(), 'bench-'));

const peerTypes: Readonly<Record<string, string>> = { f32: 'fp32', bf16: 'bf16', f16: 'fp16' };

type Side = 'ours' | `peer ${string}`;

const processorOf = (figures: Figures) =>
  (figures.cpu_s_per_step ?? figures.host!.cpu_s_per_step).median;

function started(
  command: string,
  args: readonly string[],
  { report, turn }: { readonly report: string; readonly turn?: string },
): MeasuredProcess {
  const env = { ...process.env };
  if (options['no-spinning']) env['OMP_WAIT_POLICY'] = 'passive';
  const [gpu, limit] = [cudaIndex(options.device), Number(options.limit)];
  return new MeasuredProcess({ command, args, env, report, gpu, limit, ...(turn ? { turn } : {}) });
}

const common = (report: string) => [
  ...['--rank', options.rank, '--threads', options.threads, '--device', options.device],
  ...['--steps', options.steps, '--warmup', options.warmup, '--json', report],
];

function ours({ name }: BenchCase): Promise<Figures> {
  const report = join(folder, 'ours.json');
  const args = [
    ...process.execArgv,
    join(import.meta.dirname, `step${import.meta.filename.endsWith('.ts') ? '.ts' : '.js'}`),
    ...['--case', name, '--executor', options.executor, '--precision', options.precision],
    ...common(report),
    '--no-phases',
    ...(options['no-cuda-graphs'] ? ['--no-cuda-graphs'] : []),
    ...(options['no-fused-kernels'] ? ['--no-fused-kernels'] : []),
    ...(options['no-spinning'] ? ['--no-spinning'] : []),
  ];
  return started(process.execPath, args, { report }).figures();
}

/** A case's start, as a file for its peers. */
const startOf = ({ name }: BenchCase) => join(folder, `${name}.safetensors`);

/** The start's script lies beside the sources, also where this one is compiled. */
const sameStart = () =>
  process.env['PEER_SAME_START'] ?? join(import.meta.dirname, 'peer-same-start.py');

/** A peer, and where its losses will be. */
interface Peer {
  readonly process: MeasuredProcess;
  readonly losses: string | undefined;
}

/** @param waits whether it is begun before its turn */
function startPeer(bench: BenchCase, compile: string, waits: boolean): Peer {
  const peer = options.peer ?? process.env['PEER'];
  if (!peer) throw new Error('--peer is needed: the path of the script that times PyTorch');
  const file = join(folder, `${bench.name}-${compile}`);
  const report = `${file}.json`;
  const args = [
    ...['--model', bench.model, '--resolution', String(bench.resolution)],
    ...[
      '--batch',
      String(bench.batch),
      '--dtype',
      peerTypes[options.precision] ?? options.precision,
    ],
    ...['--compile', compile],
    ...common(report),
    ...(bench.checkpointing ? ['--checkpointing'] : []),
    ...(bench.tiny ? ['--allow-odd-size'] : []),
    ...(options.diffusers ? ['--diffusers', options.diffusers] : []),
  ];
  const losses = options['own-start'] ? undefined : `${file}.losses.json`;
  const script = losses ? [sameStart(), startOf(bench), losses, peer] : [peer];
  const python = options.python ?? process.env['PYTHON'] ?? 'python3';
  const turn = waits ? { turn: file } : {};
  return { process: started(python, [...script, ...args], { report, ...turn }), losses };
}

async function figuresOf({ process: running, losses }: Peer): Promise<Figures> {
  const figures = await running.figures();
  if (losses === undefined) return figures;
  return { ...figures, losses: JSON.parse(readFileSync(losses, 'utf8')) as number[] };
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

const hasPeer = ({ model }: BenchCase) => model !== 'sd21';

/** Peers that were begun before their turn, by case and way of compiling. */
const ahead = new Map<string, Peer>();

async function writeStartOf(bench: BenchCase): Promise<void> {
  if (!hasPeer(bench) || options['own-start']) return;
  const steps = Number(options.steps) + Number(options.warmup);
  await writeStart(startOf(bench), bench, { rank: Number(options.rank), steps, seed: 0 });
}

/** Until all of them are warm, so that none is timed while another compiles. */
async function startAhead(benches: readonly BenchCase[]): Promise<void> {
  if (cudaIndex(options.device) === undefined || options['own-start']) {
    throw new Error('--ahead is for CUDA devices, and for our start');
  }
  for (const bench of benches.filter(hasPeer)) {
    for (const compile of options.compile.split(',')) {
      if (compile !== 'none') {
        ahead.set(`${bench.name} ${compile}`, startPeer(bench, compile, true));
      }
    }
  }
  await Promise.all(Array.from(ahead.values(), ({ process: peer }) => peer.ready()));
}

function theirs(bench: BenchCase, compile: string): Promise<Figures> {
  const key = `${bench.name} ${compile}`;
  const peer = ahead.get(key) ?? startPeer(bench, compile, false);
  ahead.delete(key);
  return figuresOf(peer);
}

/** @param keep is given what there is after each side, so that a run that is cut off leaves it */
async function compareCase(
  bench: BenchCase,
  keep: (result: CaseResult) => void,
): Promise<CaseResult> {
  const { name } = bench;
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
  if (!hasPeer(bench)) {
    print(`  ${name}: the peer knows SD 1.5 and SDXL alone; ours is timed without it`);
  }
  for (let round = 0; round < Number(options.rounds); round++) {
    await attempt('ours', () => ours(bench));
    for (const compile of hasPeer(bench) ? options.compile.split(',') : []) {
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
  const benches = options.case.split(',').map(parseCase);
  for (const bench of benches) await writeStartOf(bench);
  if (options.ahead) await startAhead(benches);
  for (const bench of benches) {
    results.push(await compareCase(bench, (partial) => write([...results, partial])));
    write(results);
  }
  if (results.every(({ failed }) => failed.length > 0)) process.exitCode = 1;
}

try {
  await main();
} finally {
  for (const { process: waiting } of ahead.values()) waiting.stop();
  rmSync(folder, { recursive: true });
}
