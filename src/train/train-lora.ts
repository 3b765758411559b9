/**
 * @file A whole run, top to bottom: open the base, prepare, take step after step, save the adapter with
 * its pictures.
 */

import { join } from 'node:path';
import { checkPlace } from '../export/check-place.ts';
import { finalFileName } from '../export/file-names.ts';
import type { Executor } from '../runtime/executor.ts';
import { UserError } from '../tensor/user-error.ts';
import type { StepOutcome } from './lora-trainer.ts';
import { lrFactor } from './lr-schedule.ts';
import { openBase } from './open-base.ts';
import { prepareRun, type Run } from './prepare-run.ts';
import { runFolderPath } from './run-folder.ts';
import { lockRun } from './run-lock.ts';
import { settleBase } from './settle-base.ts';
import { SmoothedLoss } from './smoothed-loss.ts';
import type { RunOptions, TrainLoraOptions, TrainResult } from './train-options.ts';
import { saveState } from './train-state.ts';

/** Steps in a row that may fail the finite check before the run ends. */
const badStepsAllowed = 5;

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
    const { state, plan, previews } = run;
    if (state.step === 0 && config.preview.before) await previews.make(0);
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
  const smoothed = new SmoothedLoss(state.history.losses);
  let badSteps = 0;
  let stateAt = Date.now();
  while (state.step < plan.totalSteps) {
    const begin = performance.now();
    const { outcome, learningRate } = await takeStep(run);
    badSteps = outcome.applied ? 0 : badSteps + 1;
    if (badSteps >= badStepsAllowed) throw notFinite(run);

    const smoothedLoss = smoothed.add(outcome.loss);
    const secondsPerStep = (performance.now() - begin) / 1000;
    const facts = { loss: outcome.loss, smoothedLoss, learningRate, secondsPerStep };
    options.log('step', { step: state.step, ...outcome, ...facts });
    options.onProgress({ phase: 'train', done: state.step, total: plan.totalSteps, ...facts });

    const finished = state.step === plan.totalSteps;
    const due = finished ? null : folder.saveDue(config.output, plan, state.step);
    if (due !== null) await saveAt(due, run, options);
    if (previews.due(state.step) && !finished) {
      if (!trainer.keepsGraphs) await trainer.releaseGraphs();
      await previews.make(state.step);
    }
    const stopping = !finished && options.stop();
    const stateDue = Date.now() - stateAt >= 1000 * config.output.saveStateEverySeconds;
    if (finished || due !== null || stopping || stateDue) {
      await saveState(folder.statePath, run.executor, run.layouts, state, run.fingerprint);
      stateAt = Date.now();
    }
    if (stopping) return;
  }
}

/** One optimizer step and its entry in the history. */
async function takeStep({ config: { train, lora }, plan, state, trainer }: Run): Promise<{
  readonly outcome: StepOutcome;
  /** Of the UNet, or of the text encoder where only that is trained. */
  readonly learningRate: number;
}> {
  const { lrSchedule: kind, warmupSteps, restarts } = train;
  const { totalSteps } = plan;
  const factor = lrFactor({ kind, warmupSteps, restarts, totalSteps }, state.step);
  const rates = {
    unet: factor * train.unetLearningRate,
    text_encoder: factor * train.textEncoderLearningRate,
  };
  const outcome = await trainer.step(plan.batchesOf(state.step), state.updates, rates);
  const learningRate = lora.unet ? rates.unet : rates.text_encoder;
  state.step++;
  if (outcome.applied) state.updates++;
  state.history.losses.push(outcome.loss);
  state.history.learningRates.push(learningRate);
  return { outcome, learningRate };
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
  const { config, plan, state, folder, previews, dataset, trainer } = run;
  const { dir, name } = config.output;
  const adapterPath = join(dir, finalFileName(name));
  await saveAt(adapterPath, run, options);
  await trainer.releaseGraphs();
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

function notFinite({ state, folder: { statePath } }: Run): UserError {
  return new UserError(
    `the loss or the gradients were not finite in ${badStepsAllowed} steps in a row, up to step ${state.step}, ` +
      'so the run ends and nothing of them is saved; lower train.learningRate, or look for damaged weights with ' +
      `\`sdl-train check --deep\`; the last good state, if there is one, is ${statePath}`,
  );
}
