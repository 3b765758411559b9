/** @file Trains: sets up the log, the executor, the progress line and Ctrl-C around `trainLora`. */

import { checkPaths } from '../config/check-paths.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import { trainLora } from '../train/train-lora.ts';
import type { TrainLoraOptions, TrainProgress, TrainResult } from '../train/train-options.ts';
import { executorFactory, memoryModel } from './create-executor.ts';
import { idleGpu } from './idle-gpu.ts';
import { ProgressLine } from './progress-line.ts';
import { runHeader } from './run-header.ts';
import { openRunLog, type RunLog } from './run-log.ts';
import { listenForStop, type StopSignal } from './stop-signal.ts';
import type { Terminal } from './terminal.ts';

/** What is said of an event on the screen; null for those that are for the log alone. */
function spoken(event: string, fields: Readonly<Record<string, unknown>>): string | null {
  const { warning, notice, step, family, predicts, resolution, trainedAt, clipSkip } = fields;
  if (event === 'warning') return `warning: ${warning}`;
  if (event === 'notice') return `note: ${notice}`;
  if (event === 'base') {
    const made = resolution === null ? '' : `; made at ${resolution} pixels`;
    const trained = `; trained at ${trainedAt}`;
    const layer = clipSkip === null ? '' : `; clip skip ${clipSkip}`;
    return `base: ${family}, predicts ${predicts}${made}${trained}${layer}`;
  }
  if (event === 'memory') return `memory: ${fields['plan']}`;
  if (event === 'resumed') return `going on after step ${step}, where this run was stopped`;
  return null;
}

/** Ctrl-C: before the first step nothing can be lost, so that the run ends at once. */
function stopAfterStep(progress: ProgressLine, hasBegun: () => boolean): StopSignal {
  const stop = listenForStop(() => {
    if (hasBegun()) {
      progress.note('finishing this step, then saving; press Ctrl-C again to quit at once');
      return;
    }
    progress.note('stopped before the first step; images that were encoded are kept');
    process.exit(stop.exitCode());
  });
  return stop;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Trains, and tells the log and the screen how it goes. */
async function trainLogged(
  run: Pick<TrainLoraOptions, 'config' | 'onProgress' | 'stop' | 'restart'>,
  log: RunLog,
  progress: ProgressLine,
): Promise<TrainResult> {
  const { config } = run;
  log.write('config', { config });
  const tell: TrainLoraOptions['log'] = (event, fields) => {
    log.write(event, fields);
    const text = spoken(event, fields);
    if (text !== null) progress.note(text);
  };
  try {
    return await trainLora({
      ...run,
      createExecutor: executorFactory(config, (notice) => tell('notice', { notice })),
      memoryModel: () => memoryModel(config),
      log: tell,
    });
  } catch (error) {
    log.write('error', { message: messageOf(error) });
    throw error;
  } finally {
    log.close();
  }
}

/**
 * Trains as a configuration says.
 * @param restart forget the state of an earlier run
 * @returns 0, or the status of the signal that stopped the run
 */
export async function runTraining(
  loaded: LoadedConfig,
  restart: boolean,
  terminal: Terminal,
): Promise<number> {
  checkPaths(loaded);
  const { config } = loaded;
  terminal.print(`${await runHeader(config)}\n`);
  const idle = await idleGpu(config);
  if (idle !== undefined) terminal.complain(`warning: ${idle}\n`);
  const progress = new ProgressLine(terminal);
  let begun = false;
  const onProgress = (step: TrainProgress) => {
    begun ||= step.phase === 'train';
    progress.update(step);
  };
  const stop = stopAfterStep(progress, () => begun);
  try {
    const log = openRunLog(config.log);
    const run = { config, onProgress, stop: stop.requested, restart };
    const result = await trainLogged(run, log, progress);
    progress.end();
    for (const line of result.summary) terminal.print(line);
    return result.finished ? 0 : stop.exitCode();
  } finally {
    progress.end();
    stop.release();
  }
}
