/**
 * @file Times one LoRA training step at full size, of SD 1.5 or of a checkpoint that is given: latents and text context are given, as
 * from the caches; then the UNet forward and backward, clipping and AdamW.
 *
 *     npx tsx bench/step.ts --resolution 512 --threads 2 --steps 5
 *     npx tsx bench/step.ts --executor torch --device cuda --precision bf16 --batch 8
 */

import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { GraphBuilder } from '../src/graph/graph-builder.ts';
import { initLora } from '../src/lora/init-lora.ts';
import { loraLayout } from '../src/lora/lora-layout.ts';
import { targetModules } from '../src/lora/target-modules.ts';
import { fedText, type NetworkModel, unetFeeds, wholeFrame } from '../src/models/networks.ts';
import { sd1 } from '../src/models/sd1/family.ts';
import { sd1TensorShapes } from '../src/models/sd1/tensor-shapes.ts';
import { openCheckpoint } from '../src/models/single-file.ts';
import {
  beginRun,
  type Executor,
  type ParameterSource,
  type PendingRun,
  type Values,
} from '../src/runtime/executor.ts';
import { createOnnxExecutor } from '../src/runtime/onnx/onnx-executor.ts';
import { Rng } from '../src/tensor/rng.ts';
import type { Shape } from '../src/tensor/shape.ts';
import { sizeOf } from '../src/tensor/shape.ts';
import { f32 } from '../src/tensor/tensor.ts';
import { adamwDefaults } from '../src/train/adamw.ts';
import {
  gradientGraph,
  gradientVariable,
  momentVariables,
  optimizerGraph,
} from '../src/train/lora-step.ts';
import { guardFeeds, startGuard } from '../src/train/step-guard.ts';
import { openSafetensors } from '../src/weights/safetensors-file.ts';
import { forgetPeak, peakGib, processorSeconds, residentGib } from './process-usage.ts';
import { randomWeight } from './random-weights.ts';
import { sd15Sizes } from './sd15-sizes.ts';
import { printed, summarize } from './statistics.ts';

const { values: options } = parseArgs({
  options: {
    /** onnx or torch. */
    executor: { type: 'string', default: 'onnx' },
    /** Of torch: auto, cpu, cuda, cuda:1. */
    device: { type: 'string', default: 'auto' },
    /** Of torch: f32, bf16 or f16; bf16 on a GPU and f32 on the processor unless given. */
    precision: { type: 'string' },
    /** Of torch on CUDA: call by call, without captured graphs. */
    'no-cuda-graphs': { type: 'boolean', default: false },
    /** Of torch: images and kernels row-major, to see what the other order gains. */
    'row-major': { type: 'boolean', default: false },
    /** Waits for each step before the next one is begun. */
    'in-step': { type: 'boolean', default: false },
    resolution: { type: 'string', default: '512' },
    batch: { type: 'string', default: '1' },
    rank: { type: 'string', default: '16' },
    steps: { type: 'string', default: '5' },
    warmup: { type: 'string', default: '1' },
    threads: { type: 'string', default: String(availableParallelism()) },
    /** Gradient checkpointing. */
    checkpointing: { type: 'boolean', default: false },
    /** A file to train on, such as one of make-random-checkpoint; random weights unless given. */
    checkpoint: { type: 'string' },
    /** Does without the second copy of convolution kernels. */
    'no-flip': { type: 'boolean', default: false },
    /** Threads sleep while they wait, so that processor seconds count work alone. */
    'no-spinning': { type: 'boolean', default: false },
    /** Prefix of a file for ONNX Runtime's own timing. */
    profile: { type: 'string' },
    /** A file for the figures. */
    json: { type: 'string' },
  },
});

const print = (line: string) => process.stdout.write(`${line}\n`);
const seconds = () => performance.now() / 1000;
const rng = new Rng(0, 'bench');

/** Norm to which gradients are clipped, as the trainer's default. */
const maxGradNorm = 1;

async function openModel(): Promise<NetworkModel & ParameterSource> {
  if (options.checkpoint) return openCheckpoint(await openSafetensors(options.checkpoint));
  const shapes = sd1TensorShapes(sd15Sizes);
  return { family: sd1, shapes, read: (name) => randomWeight(name, shapes.get(name)!, 0) };
}

function stepFeeds(model: NetworkModel, batch: number, side: number): Values {
  const latents = [batch, 4, side, side];
  const text = fedText(new GraphBuilder(), model, { batch, tokens: 77 });
  const frame = wholeFrame({ width: 8 * side, height: 8 * side });
  const normals = (shape: Shape) => f32(shape, rng.normals(sizeOf(shape)));
  const timesteps = Array.from({ length: batch }, () => rng.integer(1000));
  return {
    latents: normals(latents),
    noise: normals(latents),
    sqrtAlpha: f32([batch, 1, 1, 1], new Float32Array(batch).fill(Math.SQRT1_2)),
    sqrtOneMinusAlpha: f32([batch, 1, 1, 1], new Float32Array(batch).fill(Math.SQRT1_2)),
    weight: f32([batch], new Float32Array(batch).fill(1)),
    ...unetFeeds(model, timesteps, new Array(batch).fill(frame)),
    context: normals(text.context.shape),
    ...(text.pooled ? { pooled: normals(text.pooled.shape) } : {}),
    gradientKeep: f32([], [0]),
    gradientShare: f32([], [1]),
    lossShare: f32([], [1]),
  };
}

async function createExecutor(parameters: ParameterSource): Promise<Executor> {
  const threads = Number(options.threads);
  if (options.executor === 'torch') {
    const { createTorchExecutor } = await import('../src/runtime/torch/torch-executor.ts');
    const compute = options.precision as 'f32' | 'bf16' | 'f16' | undefined;
    const { device } = options;
    return createTorchExecutor({
      parameters,
      device,
      threads,
      cudaGraphs: !options['no-cuda-graphs'],
      channelsLast: !options['row-major'],
      note: print,
      ...(compute ? { compute } : {}),
    });
  }
  return createOnnxExecutor({
    parameters,
    threads,
    // As the trainer does: whoever recomputes to save memory does not keep kernels twice.
    flipWeights: !(options['no-flip'] || options.checkpointing),
    spinning: !options['no-spinning'],
    ...(options.profile ? { profilePrefix: options.profile } : {}),
  });
}

async function main(): Promise<void> {
  const [resolution, batch, rank] = [options.resolution, options.batch, options.rank].map(Number);
  const [steps, warmup] = [Number(options.steps), Number(options.warmup)];
  const side = resolution! / 8;
  const model = await openModel();
  const executor = await createExecutor(model);
  const modules = targetModules(model, { textEncoder: false });
  const layout = loraLayout('unet', modules, { rank: rank! });
  executor.writeVariable(layout.variable, f32([layout.size], initLora(layout, 0)));
  for (const name of [gradientVariable(layout), ...momentVariables(layout)]) {
    executor.writeVariable(name, f32([layout.size]));
  }

  const began = seconds();
  const shape = { batch: batch!, height: side, width: side, text: { tokens: 77 } };
  const stepOptions = { clipSkip: 1, gradientCheckpointing: options.checkpointing };
  const { joinsLayers } = executor;
  const network = { ...model, predictionType: 'epsilon', joinsLayers } as const;
  const gradients = await executor.compile(gradientGraph(network, [layout], shape, stepOptions));
  const optimizer = await executor.compile(optimizerGraph([layout], adamwDefaults));
  const built = { seconds: seconds() - began, peakGib: peakGib(), residentGib: residentGib() };
  print(
    `built in ${built.seconds.toFixed(1)} s: ${modules.length} modules, ${layout.size} weights trained; ` +
      `peak ${built.peakGib.toFixed(2)} GiB, then ${built.residentGib.toFixed(2)}`,
  );

  startGuard(executor);
  const losses: number[] = [];
  const read = async (run: PendingRun) => {
    losses.push((await run.read())['loss']!.data[0] as number);
  };
  // As the trainer: a step is begun before the one before it is read, where the executor lets it.
  let begun: PendingRun | undefined;
  const runStep = async (number: number): Promise<void> => {
    await beginRun(gradients, stepFeeds(model, batch!, side));
    const run = await beginRun(optimizer, {
      ...guardFeeds(adamwDefaults, maxGradNorm, { updates: number - 1, unsure: false }),
      [`learningRate.${layout.group}`]: f32([], [1e-4]),
    });
    if (begun) await read(begun);
    begun = run;
    if (run.isOver || options['in-step']) await settle();
  };
  const settle = async (): Promise<void> => {
    if (begun) await read(begun);
    begun = undefined;
  };
  const ownPeak = forgetPeak();
  for (let i = 0; i < warmup; i++) await runStep(1 + i);
  const [wall, processor]: [number[], number[]] = [[], []];
  for (let i = 0; i < steps; i++) {
    const [from, spent] = [seconds(), processorSeconds()];
    await runStep(1 + warmup + i);
    if (i === steps - 1) await settle();
    wall.push(seconds() - from);
    processor.push(processorSeconds() - spent);
    print(`  step ${i}: ${wall[i]!.toFixed(3)} s, processor ${processor[i]!.toFixed(2)} s`);
  }
  const result = {
    bench: 'sdl-train',
    executor: executor.name,
    device: options.device,
    precision: options.precision ?? 'default',
    resolution,
    batch,
    rank,
    checkpointing: options.checkpointing,
    cuda_graphs: !options['no-cuda-graphs'],
    row_major: options['row-major'],
    in_step: options['in-step'],
    threads: Number(options.threads),
    step_s: summarize(wall),
    cpu_s_per_step: summarize(processor),
    build_s: built.seconds,
    peak_rss_gib: peakGib(),
    peak_rss_is_of_steps_only: ownPeak,
    peak_rss_build_gib: built.peakGib,
    rss_before_steps_gib: built.residentGib,
    losses,
    cpu: cpus()[0]?.model,
    node: process.version,
  };
  await executor.dispose();
  const kind = `${resolution}x${resolution} b${batch} r${rank}${options.checkpointing ? ' ckpt' : ''}`;
  print(
    `${kind}: step s ${printed(result.step_s)}, processor s ${printed(result.cpu_s_per_step)}, ` +
      `peak RSS in steps ${result.peak_rss_gib.toFixed(2)} GiB, before ${built.peakGib.toFixed(2)}`,
  );
  print(`losses: ${losses.map((loss) => loss.toFixed(6)).join(' ')}`);
  if (options.json) writeFileSync(options.json, `${JSON.stringify(result, null, 1)}\n`);
}

await main();
