/** @file Looks at all parts of a run, then prints the page and every problem at once. */

import { statfs } from 'node:fs/promises';
import { checkPaths } from '../../config/check-paths.ts';
import type { LoadedConfig } from '../../config/load-config.ts';
import type { Config } from '../../config/resolve-config.ts';
import { sizeConfig } from '../../config/size-config.ts';
import { type DatasetReport, reportDataset } from '../../data/report.ts';
import { checkPlace } from '../../export/check-place.ts';
import { createClipTokenizer } from '../../models/clip-tokenizer.ts';
import { UserError } from '../../tensor/user-error.ts';
import { formatBytes, plural } from '../format-units.ts';
import { idleGpu } from '../idle-gpu.ts';
import type { Terminal } from '../terminal.ts';
import { checkBase } from './check-base.ts';
import { checkCaptions } from './check-captions.ts';
import { lengthFacts } from './check-length.ts';
import { checkMemory } from './check-memory.ts';
import { checkPage } from './check-page.ts';

export interface CheckOptions {
  /** List every image and caption. */
  readonly all: boolean;
  /** Read all weights of the base. */
  readonly deep: boolean;
}

/** Below this a disk is as good as full: an adapter and a few states will not fit. */
const littleSpace = 500e6;

const nothing: DatasetReport = {
  images: 0,
  priorImages: 0,
  visits: 0,
  stepsPerEpoch: 0,
  buckets: [],
  imageUses: [],
  meanCropLoss: 0,
  enlarged: [],
  duplicates: [],
  samples: [],
  problems: [],
  warnings: [],
};

/** What a part has to say against the run, where it throws for the user. */
async function complaintsOf(part: () => void | Promise<void>): Promise<string[]> {
  try {
    await part();
    return [];
  } catch (error) {
    if (error instanceof UserError) return error.message.split('\n');
    throw error;
  }
}

async function checkOutput({ config }: LoadedConfig, warnings: string[]): Promise<void> {
  const folder = await checkPlace(config.output.dir, config.output.name);
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize < littleSpace) {
    warnings.push(`${folder}: only ${formatBytes(bavail * bsize)} are free on this disk`);
  }
}

/** The data set, or why nothing can be said of it. */
async function checkData({ data, train }: Config): Promise<DatasetReport> {
  try {
    return await reportDataset({
      folders: data.folders,
      scan: data,
      buckets: { ...data.buckets, resolution: data.resolution },
      batchSize: train.batchSize,
      seed: train.seed,
    });
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { ...nothing, problems: [error.message] };
  }
}

function tellFindings(
  problems: readonly string[],
  warnings: readonly string[],
  terminal: Terminal,
): number {
  for (const warning of warnings) terminal.complain(`warning: ${warning}`);
  if (problems.length === 0) {
    terminal.print('\nNothing is in the way of training.');
    return 0;
  }
  terminal.complain(`\n${plural(problems.length, 'problem')}:`);
  for (const problem of problems) terminal.complain(`  ${problem}`);
  return 1;
}

/** @returns 0, or 1 where training would refuse */
export async function runCheck(
  loaded: LoadedConfig,
  { all, deep }: CheckOptions,
  terminal: Terminal,
): Promise<number> {
  const warnings: string[] = [];
  const paths = await complaintsOf(() => checkPaths(loaded));
  // A file that is missing has its line of the configuration from there already.
  const isTold = (problem: string) => {
    const path = /^(?:cannot read )?(.*?): /.exec(problem)?.[1];
    return path !== undefined && paths.some((line) => line.includes(path));
  };
  const base = await checkBase(loaded.config, deep);
  const config = sizeConfig(loaded.config, base.resolution);
  const data = await checkData(config);
  const { maxTokens } = config.train;
  const tokenizer = createClipTokenizer();
  const captions = checkCaptions(data.samples, tokenizer, {
    maxTokens,
    captionSeparator: config.data.captionSeparator,
    emphasis: config.data.emphasis,
  });
  const memory = await checkMemory(base, data.buckets, captions, tokenizer, config);
  const page = {
    base: base.facts,
    data,
    captions,
    length: lengthFacts(data, config),
    memory: memory.facts,
    all,
  };
  const output = await complaintsOf(() => checkOutput(loaded, warnings));
  terminal.print(checkPage(page));
  const idle = await idleGpu(config);
  if (idle !== undefined) warnings.push(idle);
  warnings.push(...base.warnings, ...data.warnings, ...memory.warnings);
  const problems = [
    ...paths,
    ...[...base.problems, ...data.problems].filter((problem) => !isTold(problem)),
    ...memory.problems,
    ...output,
  ];
  return tellFindings(problems, warnings, terminal);
}
