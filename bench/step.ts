/**
 * @file Times one LoRA training step: its phases, memory and arithmetic.
 *
 *     npm run bench -- --case sd15-512-b1 --threads 2
 *     npm run bench -- --case sdxl-1024-b1,sdxl-1024-b4 --executor torch --device cuda --precision bf16
 *     npm run bench -- --case sdxl-1024-b1 --count-only
 */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { measureSpeed } from '../src/cli/doctor/measure-speed.ts';
import { countFlops } from '../src/graph/count-flops.ts';
import { benchExecutor, type ExecutorOptions } from './bench-executor.ts';
import { type BenchNetwork, modelOfFile, randomModel } from './bench-model.ts';
import { type BenchCase, parseCase } from './cases.ts';
import { cudaIndex, DeviceMemoryWatch, usedDeviceMib } from './device-memory.ts';
import { growthPerThousand, MemoryRecorder } from './memory-series.ts';
import { forgetPeak, peakGib, processorSeconds, residentGib } from './process-usage.ts';
import { printed, summarize } from './statistics.ts';
import { type Options, stepOptions } from './step-options.ts';
import { gradientPhases } from './step-phases.ts';
import { type StepTimes, stepGraph, TrainingStep, unetLayout } from './training-step.ts';
import { measuredWith } from './versions.ts';

const print = (line: string) => process.stdout.write(`${line}\n`);
const seconds = () => performance.now() / 1000;
const teraflops = (flops: number) => (flops / 1e12).toFixed(3);

interface Measured {
  readonly times: readonly StepTimes[];
  readonly processor: readonly number[];
  /** Of all steps together, the wait for the last included. */
  readonly wallPerStep: number;
}

/** The steps that count, after those that warm up. */
async function measureSteps(training: TrainingStep, options: Options): Promise<Measured> {
  const [steps, warmup] = [Number(options.steps), Number(options.warmup)];
  const recorder = options.memory ? new MemoryRecorder(options.device) : undefined;
  const times: StepTimes[] = [];
  const processor: number[] = [];
  const inStep = options['in-step'];
  for (let i = 0; i < warmup; i++) await training.run(i, inStep);
  await training.settle();
  recorder?.take(0);
  const began = seconds();
  for (let i = 0; i < steps; i++) {
    const spent = processorSeconds();
    const time = await training.run(warmup + i, inStep);
    times.push(time);
    processor.push(processorSeconds() - spent);
    if (steps <= 20) {
      print(
        `  step ${i}: ${time.step.toFixed(3)} s, processor ${processor[i]!.toFixed(2)} s, ` +
          `loss ${training.losses.at(-1)?.toFixed(6)}`,
      );
    }
    if ((i + 1) % Number(options.every) === 0) recorder?.take(i + 1);
  }
  await training.settle();
  const wallPerStep = (seconds() - began) / steps;
  if (recorder && options.memory) {
    const title = `${options.case}, ${options.executor} on ${options.device}, ${steps} steps`;
    recorder.write(options.memory, title);
    const growth = growthPerThousand(recorder.samples, ({ host }) => host);
    print(`host memory grows by ${growth.toFixed(1)} MiB per 1,000 steps in the second half`);
  }
  return { times, processor, wallPerStep };
}

/** Steps that were waited for, one by one: on a GPU the others do not tell their phases apart. */
async function phasedSteps(
  training: TrainingStep,
  times: readonly StepTimes[],
  options: Options,
): Promise<readonly StepTimes[]> {
  if (!training.isLate || options['in-step'] || options['no-phases']) return times;
  const first = Number(options.warmup) + Number(options.steps);
  const phased: StepTimes[] = [];
  for (let i = 0; i < Math.min(5, times.length); i++)
    phased.push(await training.run(first + i, true));
  training.losses.splice(first);
  return phased;
}

/** The rates of the device, and the least time of a step by its matrix product. */
async function floorOf(executorOptions: ExecutorOptions, flops: number) {
  const { matmul, convolution } = await measureSpeed((parameters) =>
    benchExecutor(parameters, executorOptions),
  );
  return {
    matmul_gflops: matmul,
    convolution_gflops: convolution,
    floor_s: flops / (matmul * 1e9),
  };
}

function phasesOf(
  times: readonly StepTimes[],
  inside: { readonly forward: number; readonly transfers: number } | null,
) {
  const median = (of: (time: StepTimes) => number) => summarize(times.map(of)).median;
  const gradients = median((time) => time.gradients);
  return {
    feeds_s: median((time) => time.feeds),
    gradients_s: gradients,
    ...(inside
      ? {
          forward_s: inside.forward,
          backward_s: gradients - inside.forward,
          transfers_s: inside.transfers,
        }
      : {}),
    optimizer_s: median((time) => time.optimizer),
  };
}

type Report = Awaited<ReturnType<typeof timeOnExecutor>>;

function printReport(name: string, report: Report): void {
  const { step_s, cpu_s_per_step, phases, floor, flops } = report;
  print(
    `${name}: step s ${printed(step_s, 3)}, ${report.wall_per_step_s.toFixed(3)} by the wall clock; ` +
      `processor s ${printed(cpu_s_per_step)}`,
  );
  const parts = Object.entries(phases).map(
    ([key, value]) => `${key.slice(0, -2)} ${value.toFixed(4)}`,
  );
  print(`  phases s: ${parts.join(', ')}`);
  print(
    `  memory: peak RSS in steps ${report.peak_rss_gib.toFixed(2)} GiB, while building ${report.peak_rss_build_gib.toFixed(2)}` +
      (report.device_peak_mib === undefined ? '' : `; GPU ${report.device_peak_mib} MiB at most`),
  );
  if (floor) {
    const share = (100 * floor.floor_s) / step_s.median;
    print(
      `  floor: ${teraflops(flops)} TFLOP at ${(floor.matmul_gflops / 1000).toFixed(3)} TFLOP/s (matrix product; ` +
        `convolution ${(floor.convolution_gflops / 1000).toFixed(3)}) = ${floor.floor_s.toFixed(4)} s, ${share.toFixed(0)} % of the step`,
    );
  }
}

async function timeOnExecutor(
  bench: BenchCase,
  model: BenchNetwork,
  executorOptions: ExecutorOptions,
  options: Options,
) {
  const index = cudaIndex(options.device);
  const before = index === undefined ? undefined : usedDeviceMib(index, process.pid);
  const watch = index === undefined ? undefined : new DeviceMemoryWatch(index, process.pid);
  const executor = await benchExecutor(model, executorOptions);
  try {
    const sizes = { ...bench, rank: Number(options.rank) };
    const began = seconds();
    const training = new TrainingStep(executor, model, sizes, Number(options.seed));
    await training.build();
    const built = { seconds: seconds() - began, peak: peakGib(), resident: residentGib() };
    const { slots, size } = training.layout;
    print(
      `${bench.name}: built in ${built.seconds.toFixed(1)} s, ${slots.length} modules, ${size} weights trained`,
    );
    const ownPeak = forgetPeak();
    const { times, processor, wallPerStep } = await measureSteps(training, options);
    const memory = {
      peak_rss_gib: peakGib(),
      peak_rss_is_of_steps_only: ownPeak,
      peak_rss_build_gib: built.peak,
      rss_before_steps_gib: built.resident,
      device_before_mib: before,
      device_peak_mib: watch?.peakMib,
    };
    const flops = countFlops(training.graph);
    const runs = Math.min(5, Number(options.steps));
    const phased = await phasedSteps(training, times, options);
    const inside = options['no-phases']
      ? null
      : await gradientPhases(executor, training.graph, training.feeds(0), runs);
    return {
      bench: 'sdl-train',
      case: bench.name,
      executor: executor.name,
      device: options.device,
      precision: options.precision ?? 'default',
      cuda_graphs: !options['no-cuda-graphs'],
      side_stream: !options['no-side-stream'],
      fused_kernels: !options['no-fused-kernels'],
      row_major: options['row-major'],
      in_step: options['in-step'],
      resolution: bench.resolution,
      batch: bench.batch,
      rank: Number(options.rank),
      checkpointing: bench.checkpointing,
      threads: Number(options.threads),
      warmup: Number(options.warmup),
      step_s: summarize(times.map(({ step }) => step)),
      wall_per_step_s: wallPerStep,
      cpu_s_per_step: summarize(processor),
      phases: phasesOf(phased, inside),
      build_s: built.seconds,
      ...memory,
      flops,
      floor: null as Awaited<ReturnType<typeof floorOf>> | null,
      losses: training.losses,
      measured_with: measuredWith(options.executor),
    };
  } finally {
    watch?.stop();
    await executor.dispose();
  }
}

async function timeCase(name: string, options: Options): Promise<unknown> {
  const bench = parseCase(name);
  const model = options.checkpoint
    ? await modelOfFile(options.checkpoint)
    : randomModel(bench, Number(options.seed));
  if (options['count-only']) {
    const sizes = { ...bench, rank: Number(options.rank) };
    const graph = stepGraph(model, unetLayout(model, sizes.rank), sizes);
    const flops = countFlops(graph);
    print(`${name}: ${graph.nodes.length} operations, ${teraflops(flops)} TFLOP a step`);
    return { case: name, nodes: graph.nodes.length, flops };
  }
  const executorOptions: ExecutorOptions = {
    executor: options.executor,
    device: options.device,
    precision: options.precision,
    cudaGraphs: !options['no-cuda-graphs'],
    sideStream: !options['no-side-stream'],
    fusedKernels: !options['no-fused-kernels'],
    rowMajor: options['row-major'],
    threads: Number(options.threads),
    // As the trainer does: whoever recomputes to save memory does not keep kernels twice.
    flipWeights: !(options['no-flip'] || bench.checkpointing),
    spinning: !options['no-spinning'],
    profile: options.profile,
  };
  const report = await timeOnExecutor(bench, model, executorOptions, options);
  const full: Report = options['no-floor']
    ? report
    : { ...report, floor: await floorOf(executorOptions, report.flops) };
  printReport(name, full);
  return full;
}

/** Each case in a process of its own, so that none finds the memory of another. */
function timeCases(names: readonly string[]): unknown[] {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  const report = join(folder, 'report.json');
  const args = process.argv.slice(2);
  const rest = args.filter((arg, i) => {
    const before = args[i - 1];
    return !/^--(case|json)(=|$)/.test(arg) && before !== '--case' && before !== '--json';
  });
  try {
    return names.map((name) => {
      const command = [process.argv[1]!, ...rest, '--case', name, '--json', report];
      const { status } = spawnSync(process.execPath, [...process.execArgv, ...command], {
        stdio: 'inherit',
      });
      if (status !== 0) return { case: name, failed: true };
      return JSON.parse(readFileSync(report, 'utf8')) as unknown;
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function main(): Promise<void> {
  const options = stepOptions();
  const names = options.case.split(',');
  for (const name of names) parseCase(name);
  const result = names.length === 1 ? await timeCase(names[0]!, options) : timeCases(names);
  if (options.json) writeFileSync(options.json, `${JSON.stringify(result, null, 1)}\n`);
}

await main();
