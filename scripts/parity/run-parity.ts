/** @file Finds the golden numbers below a folder and runs every case on the executors. */

import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Node } from '../../src/graph/ops.ts';
import type {
  CompileOptions,
  Executor,
  ParameterSource,
  Precision,
  Values,
} from '../../src/runtime/executor.ts';
import { findLibtorch } from '../../src/runtime/torch/find-libtorch.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { UserError } from '../../src/tensor/user-error.ts';
import { loconCase, loraCase } from './cases/lora.ts';
import { mergeCase } from './cases/merge.ts';
import { samplersCase } from './cases/samplers.ts';
import { checkScheduler } from './cases/scheduler.ts';
import { textCase } from './cases/text-encoder.ts';
import { trainingCase } from './cases/training.ts';
import { unetCase } from './cases/unet.ts';
import { vaeCase } from './cases/vae.ts';
import { type Family, openFamily, readFamilyIndex } from './family.ts';
import { type GoldenFile, openGolden } from './golden-file.ts';
import type { Engine, ParityCase } from './parity-case.ts';
import { Report, type ReportOptions } from './report.ts';

const familyCases: readonly ParityCase[] = [
  vaeCase,
  textCase,
  unetCase,
  loraCase,
  loconCase,
  trainingCase,
  samplersCase,
  mergeCase,
];

const schedulerFile = 'scheduler.safetensors';
const schedulerCase = 'scheduler';

/** Families that the trainer knows. */
const supported: ReadonlySet<string> = new Set(['sd15', 'sd21', 'sdxl']);

export const caseNames: readonly string[] = [...familyCases.map(({ name }) => name), schedulerCase];

export const executorNames = [
  'onnx',
  'reference',
  'torch',
  'torch-bf16',
  'torch-f16',
  'tfjs',
] as const;
type ExecutorName = (typeof executorNames)[number];

/**
 * How many times wider bounds are than in f32. bf16 keeps 8 bits, so each operation rounds by 4e-3, and
 * rounding adds up over the layers: outputs may be 5 % off, gradients 25 %. f16 keeps 11 bits, about a
 * sixth of the error.
 */
const slackOf: { readonly [N in ExecutorName]: number } = {
  onnx: 1,
  reference: 1,
  torch: 1,
  'torch-bf16': 2500,
  'torch-f16': 400,
  tfjs: 1,
};

/** What libtorch computes in. */
const torchTypes: { readonly [N in ExecutorName]?: Precision } = {
  torch: 'f32',
  'torch-bf16': 'bf16',
  'torch-f16': 'f16',
};

export interface ParityOptions extends ReportOptions {
  /** A set folder or one family's. */
  readonly folder: string;
  /** All but torch-bf16, torch-f16 and tfjs unless given; torch where there is a libtorch. */
  readonly executors?: readonly ExecutorName[];
  /** All unless given; the slow ones run on `reference` only where they are named. */
  readonly cases?: readonly string[];
}

export interface ParityResult {
  readonly passed: number;
  readonly failures: readonly string[];
  readonly unsupported: readonly string[];
}

async function createExecutor(name: ExecutorName, parameters: ParameterSource): Promise<Executor> {
  const compute = torchTypes[name];
  if (compute) {
    const { createTorchExecutor } = await import('../../src/runtime/torch/torch-executor.ts');
    return createTorchExecutor({ parameters, compute });
  }
  if (name === 'tfjs') {
    const [{ openTfjs }, { createTfjsExecutor }] = await Promise.all([
      import('../../src/runtime/tfjs/open-tfjs.ts'),
      import('../../src/runtime/tfjs/tfjs-executor.ts'),
    ]);
    return createTfjsExecutor({ parameters, backend: await openTfjs() });
  }
  if (name === 'onnx') {
    const { createOnnxExecutor } = await import('../../src/runtime/onnx/onnx-executor.ts');
    return createOnnxExecutor({ parameters });
  }
  const { createReferenceExecutor } = await import(
    '../../src/runtime/reference/reference-executor.ts'
  );
  return createReferenceExecutor({ parameters, precision: 'f32' });
}

function engineOf(executor: Executor): Engine {
  return {
    executor,
    compute: async <K extends string>(
      build: (g: GraphBuilder) => Readonly<Record<K, Node>>,
      feeds: Values,
      options?: CompileOptions,
    ) => {
      const g = new GraphBuilder();
      const executable = await executor.compile(g.build(build(g)), options);
      const outputs = await executable.run(feeds);
      await executable.dispose();
      return outputs as Record<K, Tensor<'f32'>>;
    },
  };
}

/** The executors that this machine has. */
function defaultExecutors(report: Report): ExecutorName[] {
  const names: ExecutorName[] = ['onnx', 'reference'];
  try {
    findLibtorch();
    return [...names, 'torch'];
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    report.say(`torch is left out: ${error.message}`);
    return names;
  }
}

/** Folders of families: `folder` itself, or those in it. */
function familyFolders(folder: string): string[] {
  if (!existsSync(folder)) throw new UserError(`${folder}: no such folder; check the path`);
  if (!statSync(folder).isDirectory()) {
    throw new UserError(`${folder}: this is a file; a folder of golden numbers is expected`);
  }
  if (existsSync(join(folder, 'index.json'))) return [folder];
  const inside = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && /^(sd\d|sdxl)/.test(entry.name))
    .map(({ name }) => join(folder, name))
    .sort();
  if (inside.length === 0 && !existsSync(join(folder, schedulerFile))) {
    throw new UserError(
      `${folder}: here are no golden numbers; give a set folder (with sd15/ in it) or one family's folder`,
    );
  }
  return inside;
}

/** The cases of a folder, by its index; all their files must be there. */
async function casesOf(folder: string, wanted: readonly string[]): Promise<ParityCase[]> {
  const { files } = await readFamilyIndex(folder);
  const found = familyCases.filter(({ name, marker }) => wanted.includes(name) && marker in files);
  const needed = new Set([
    'model.safetensors',
    'tiny_config.json',
    ...found.flatMap((c) => c.files),
  ]);
  const missing = [...needed].filter((file) => !existsSync(join(folder, file)));
  if (missing.length > 0) {
    throw new UserError(`${folder}: missing ${missing.join(', ')}; get the whole folder again`);
  }
  return found;
}

/** Golden files that are opened once for several cases. */
class OpenFiles {
  readonly #family: Family;
  readonly #files = new Map<string, Promise<GoldenFile>>();

  constructor(family: Family) {
    this.#family = family;
  }

  get(name: string): Promise<GoldenFile> {
    const file = this.#files.get(name) ?? this.#family.golden(name);
    this.#files.set(name, file);
    return file;
  }

  async close(): Promise<void> {
    for (const file of this.#files.values()) (await file).close();
  }

  /** Fails for tensors that nothing was compared with, of files whose readers all ran. */
  async checkRead(report: Report, ran: readonly ParityCase[]): Promise<void> {
    for (const [name, file] of this.#files) {
      const readers = familyCases.filter(({ files }) => files.includes(name));
      if (!readers.every((reader) => ran.includes(reader))) continue;
      for (const tensor of (await file).unread()) {
        report.fail(`${name} ${tensor}`, 'nothing was compared with this tensor');
      }
    }
  }
}

const seconds = (since: number) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

async function runFamily(
  family: Family,
  cases: readonly ParityCase[],
  executorName: ExecutorName | null,
  report: Report,
): Promise<void> {
  const files = new OpenFiles(family);
  for (const one of cases) {
    const started = performance.now();
    const slack = slackOf[executorName ?? 'reference'];
    report.start(
      `${family.name} ${executorName ?? 'host'} ${one.name}`,
      slack === 1 ? 1 : slack * (one.roundingGrows ?? 1),
    );
    const executor = await createExecutor(executorName ?? 'reference', family.checkpoint);
    const golden = (name: string) => files.get(name);
    const { joinsLayers, recomputesFreely } = executor;
    const model = { ...family.model, joinsLayers, recomputesFreely };
    await one.run({ family: { ...family, model }, engine: engineOf(executor), report, golden });
    await executor.dispose();
    report.say(`     ${seconds(started)}`);
  }
  await files.checkRead(report, cases);
  await files.close();
}

async function runFolder(
  folder: string,
  options: ParityOptions,
  report: Report,
): Promise<string | null> {
  const { executors = defaultExecutors(report), cases: named } = options;
  const { family: name } = await readFamilyIndex(folder);
  if (!supported.has(name)) return name;
  const found = await casesOf(folder, named ?? caseNames);
  const family = await openFamily(folder);
  for (const executor of executors) {
    const run = found.filter(
      ({ host, slow }) => !host && !(slow && executor === 'reference' && !named),
    );
    await runFamily(family, run, executor, report);
    const left = found.filter((one) => !one.host && !run.includes(one)).map((one) => one.name);
    if (left.length > 0) {
      report.say('');
      report.say(
        `${name}: left out on ${executor}, where they are slow: ${left.join(', ')} ` +
          `(${left.map((one) => `--case ${one}`).join(' ')} --executor ${executor} runs them)`,
      );
    }
  }
  const onHost = found.filter(({ host }) => host);
  await runFamily(family, onHost, null, report);
  family.close();
  return null;
}

/**
 * Runs all cases and prints a line for each tensor.
 * @throws UserError where the folder or a file in it is missing or damaged
 */
export async function runParity(options: ParityOptions): Promise<ParityResult> {
  const { folder, cases: wanted = caseNames } = options;
  const report = new Report(options);
  const unsupported: string[] = [];
  const folders = familyFolders(folder);
  const tables = join(folder, schedulerFile);
  const hasTables = folders[0] !== folder && wanted.includes(schedulerCase);
  if (hasTables && !existsSync(tables)) {
    throw new UserError(`${folder}: missing ${schedulerFile}; get the whole folder again`);
  }
  for (const one of folders) {
    const name = await runFolder(one, options, report);
    if (!name) continue;
    unsupported.push(name);
    report.say('');
    report.say(`${name}: not supported yet`);
  }
  if (hasTables) {
    report.start(schedulerCase);
    const file = await openGolden(tables);
    checkScheduler(report, file);
    for (const name of file.unread()) report.fail(name, 'nothing was compared with this tensor');
    file.close();
  }
  return { passed: report.passed, failures: report.failures, unsupported };
}
