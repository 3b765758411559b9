/**
 * @file A whole run, top to bottom: open the base, prepare, take step after step, save the adapter with
 * its pictures.
 */

import { join } from 'node:path';
import { checkPlace } from '../export/check-place.ts';
import { finalFileName } from '../export/file-names.ts';
import type { Executor } from '../runtime/executor.ts';
import { openBase } from './open-base.ts';
import { prepareRun, type Run } from './prepare-run.ts';
import { runFolderPath } from './run-folder.ts';
import { lockRun } from './run-lock.ts';
import { StepLine } from './step-line.ts';
import type { TrainLoraOptions, TrainResult } from './train-options.ts';
import { saveState } from './train-state.ts';

/** Trains a LoRA as the configuration says, or goes on where the same run was interrupted. */
export async function trainLora(options: TrainLoraOptions): Promise<TrainResult> {
  const { config, onProgress } = options;
  onProgress({
    phase: 'prepare',
    done: 0,
    total: 1,
    text: 'reading the base model and the images',
  });
  const unlock = await lockRun(runFolderPath(config.output));
  try {
    await checkPlace(config.output.dir, config.output.name);
    return await trainLocked(options);
  } finally {
    await unlock();
  }
}

async function trainLocked(options: TrainLoraOptions): Promise<TrainResult> {
  const { config } = options;
  const base = await openBase(config.base, config.vae);
  let executor: Executor | undefined;
  try {
    const run = await prepareRun(options, base, (made) => {
      executor = made;
    });
    const { state, plan, previews } = run;
    if (state.step === 0 && config.preview.before) await previews.make(0);
    await trainSteps(run, options);
    return state.step === plan.totalSteps ? await finish(run, options) : stopped(run);
  } finally {
    await executor?.dispose();
    base.close();
  }
}

/** Steps until the end, or until the run is to stop; the state is on disk when it returns. */
async function trainSteps(run: Run, options: TrainLoraOptions): Promise<void> {
  const { config, plan, state, folder, previews } = run;
  const steps = new StepLine(run, options);
  let stateAt = Date.now();
  while (state.step < plan.totalSteps) {
    const number = await steps.begin();
    const finished = number === plan.totalSteps;
    const due = finished ? null : folder.saveDue(config.output, plan, number);
    const drawn = !finished && previews.due(number);
    const stopping = !finished && options.stop();
    const stateDue = Date.now() - stateAt >= 1000 * config.output.saveStateEverySeconds;
    // What reads the factors needs them as they are after this step.
    if (!(finished || due !== null || drawn || stopping || stateDue)) continue;
    await steps.settle();
    if (due !== null) await saveAt(due, run, options);
    if (drawn) await previews.make(number);
    if (finished || due !== null || stopping || stateDue) {
      await saveState(folder.statePath, run.executor, run.layouts, state, run.fingerprint);
      stateAt = Date.now();
    }
    if (stopping) return;
    steps.goOn();
  }
}

/** Saves the adapter as it is now. */
async function saveAt(path: string, run: Run, { log, onProgress }: TrainLoraOptions) {
  const { config, plan, state, folder, executor, layouts, description } = run;
  const { precision, format } = config.output;
  const last = state.step === plan.totalSteps;
  onProgress({ phase: 'save', done: state.step, total: plan.totalSteps, text: path });
  const epoch = last ? plan.epochs : Math.max(1, plan.epochsDone(state.step));
  const savePoint = { steps: state.step, epoch, finishedAt: description.startedAt };
  const what = {
    path,
    executor,
    layouts,
    precision,
    format,
    run: description,
    savePoint,
    card: last,
  };
  await folder.saveAdapter(what, state.saved);
  log('saved', { path, step: state.step });
}

/** The adapter in its place, the last previews, the curve. */
async function finish(run: Run, options: TrainLoraOptions): Promise<TrainResult> {
  const { config, plan, state, folder, previews, dataset } = run;
  const { dir, name } = config.output;
  const adapterPath = join(dir, finalFileName(name));
  await saveAt(adapterPath, run, options);
  if (config.preview.after) await previews.make(state.step);
  const pictures = await folder.finish(adapterPath, state.history, dataset.samples[0]!.path);
  return {
    finished: true,
    step: state.step,
    totalSteps: plan.totalSteps,
    adapterPath,
    statePath: folder.statePath,
    summary: [`LoRA: ${adapterPath}`, ...pictures.map(([what, path]) => `${what}: ${path}`)],
  };
}

function stopped({ state, plan, folder: { statePath } }: Run): TrainResult {
  return {
    finished: false,
    step: state.step,
    totalSteps: plan.totalSteps,
    adapterPath: null,
    statePath,
    summary: [
      `stopped after step ${state.step} of ${plan.totalSteps}; the state is saved in ${statePath}`,
      'run the same command again to go on from there',
    ],
  };
}
