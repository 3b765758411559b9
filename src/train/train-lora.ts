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
import { settleBase } from './settle-base.ts';
import { StepLine } from './step-line.ts';
import type { RunOptions, TrainLoraOptions, TrainResult } from './train-options.ts';
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
  const base = await openBase(options.config.base, options.config.vae);
  let executor: Executor | undefined;
  try {
    const { settings, config } = await settleBase(options, base);
    const sized = { ...options, config };
    const run = await prepareRun(sized, base, settings, (made) => {
      executor = made;
    });
    const { state, plan } = run;
    if (state.step === 0 && config.preview.before) await drawPreviews(run, sized);
    await trainSteps(run, sized);
    return state.step === plan.totalSteps ? await finish(run, sized) : stopped(run);
  } finally {
    await executor?.dispose();
    base.close();
  }
}

/** Steps until the end, or until the run is to stop; the state is on disk when it returns. */
async function trainSteps(run: Run, options: RunOptions): Promise<void> {
  const { config, plan, state, folder, previews, trainer } = run;
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
    if (drawn) {
      if (!trainer.keepsGraphs) await trainer.releaseGraphs();
      await drawPreviews(run, options);
    }
    if (finished || due !== null || stopping || stateDue) {
      await saveState(folder.statePath, run.executor, run.layouts, state, run.fingerprint);
      stateAt = Date.now();
    }
    if (stopping) return;
    steps.goOn();
  }
}

/** Previews are no reason to end a run. */
async function drawPreviews({ previews, state: { step } }: Run, { log }: RunOptions) {
  const notice = await previews.make(step);
  if (notice !== null) log('notice', { notice, step });
}

/** Saves the adapter as it is now. */
async function saveAt(path: string, run: Run, { log, onProgress }: RunOptions) {
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
async function finish(run: Run, options: RunOptions): Promise<TrainResult> {
  const { config, plan, state, folder, dataset, trainer } = run;
  const { dir, name } = config.output;
  const adapterPath = join(dir, finalFileName(name));
  await saveAt(adapterPath, run, options);
  await trainer.releaseGraphs();
  if (config.preview.after) await drawPreviews(run, options);
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
