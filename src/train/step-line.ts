/**
 * @file Steps one after the other. Where the executor computes while the host goes on, a step is begun
 * before the one before it is seen, so that neither waits for the other; its loss then comes a step late.
 */

import { UserError } from '../tensor/user-error.ts';
import type { PendingStep } from './lora-trainer.ts';
import { wasScaledTooHigh } from './loss-scale.ts';
import { lrFactor } from './lr-schedule.ts';
import type { Run } from './prepare-run.ts';
import { SkippedSteps } from './skipped-steps.ts';
import { SmoothedLoss } from './smoothed-loss.ts';
import type { RunOptions } from './train-options.ts';

/** Steps in a row that may fail the finite check before the run ends. */
const badStepsAllowed = 5;

interface BegunStep {
  readonly pending: PendingStep;
  /** Of the UNet, or of the text encoder where only that is trained. */
  readonly learningRate: number;
}

export class StepLine {
  readonly #run: Run;
  readonly #options: RunOptions;
  readonly #smoothed: SmoothedLoss;
  readonly #skipped = new SkippedSteps();
  /** Begun and not yet in the state. */
  #begun: BegunStep | undefined;
  #badSteps = 0;
  #since = performance.now();

  constructor(run: Run, options: RunOptions) {
    this.#run = run;
    this.#options = options;
    this.#smoothed = new SmoothedLoss(run.state.history.losses);
  }

  /**
   * Begins the next step, and takes the one before it into the state.
   * @returns the number of the step that was begun, from 1
   */
  async begin(): Promise<number> {
    const { state } = this.#run;
    const number = state.step + (this.#begun ? 2 : 1);
    const begun = await this.#beginStep(number - 1);
    await this.settle();
    this.#begun = begun;
    if (begun.pending.isDue) await this.settle();
    return number;
  }

  /** Waits for the step that was begun, and takes it into the state. */
  async settle(): Promise<void> {
    const begun = this.#begun;
    if (!begun) return;
    this.#begun = undefined;
    const outcome = await begun.pending.outcome();
    const { plan, state, trainer } = this.#run;
    const { learningRate } = begun;
    state.step++;
    state.lossScale = trainer.lossScale;
    if (outcome.applied) state.updates++;
    state.history.losses.push(outcome.loss);
    state.history.learningRates.push(learningRate);
    const skipped = this.#skipped.add(state.step, outcome);
    if (skipped !== null) this.#options.log('notice', { notice: skipped });
    if (outcome.applied) this.#badSteps = 0;
    else if (!wasScaledTooHigh(outcome)) this.#badSteps++;
    if (this.#badSteps >= badStepsAllowed) throw notFinite(this.#run);

    const { loss } = outcome;
    const smoothedLoss = this.#smoothed.add(loss);
    const now = performance.now();
    const secondsPerStep = (now - this.#since) / 1000;
    this.#since = now;
    const facts = { loss, smoothedLoss, learningRate, secondsPerStep };
    this.#options.log('step', { step: state.step, ...outcome, ...facts });
    this.#options.onProgress({
      phase: 'train',
      done: state.step,
      total: plan.totalSteps,
      ...facts,
    });
  }

  /** After something that is not to be counted as a step's time. */
  goOn(): void {
    this.#since = performance.now();
  }

  async #beginStep(index: number): Promise<BegunStep> {
    const { config, plan, state, trainer } = this.#run;
    const { lrSchedule: kind, warmupSteps, restarts } = config.train;
    const { totalSteps } = plan;
    const factor = lrFactor({ kind, warmupSteps, restarts, totalSteps }, index);
    const rates = {
      unet: factor * config.train.unetLearningRate,
      text_encoder: factor * config.train.textEncoderLearningRate,
    };
    const pending = await trainer.begin(plan.batchesOf(index), state.updates, rates);
    return { pending, learningRate: config.lora.unet ? rates.unet : rates.text_encoder };
  }
}

function notFinite({ state, folder: { statePath }, executor }: Run): UserError {
  const wider = executor.precision === 'f16' ? 'set device.precision: bf16 or f32, ' : '';
  return new UserError(
    `the loss or the gradients were not finite in ${badStepsAllowed} steps in a row, up to step ${state.step}, ` +
      `so the run ends and nothing of them is saved; ${wider}lower train.learningRate, or look for damaged weights with ` +
      `\`sdl-train check --deep\`; the last good state, if there is one, is ${statePath}`,
  );
}
