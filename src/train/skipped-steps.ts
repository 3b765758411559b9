/** @file What is said of steps that were skipped because the loss was scaled too high. */

import type { StepOutcome } from './lora-trainer.ts';
import { wasScaledTooHigh } from './loss-scale.ts';

/** Several such steps in a row, as at the start of a run, are told of once, when the right scale is found. */
export class SkippedSteps {
  #first: { readonly step: number; readonly lossScale: number } | undefined;
  #last = 0;

  /**
   * @param step number of the step, from 1
   * @returns a sentence, at the first step after those that were skipped; else null
   */
  add(step: number, outcome: StepOutcome): string | null {
    const { applied, lossScale } = outcome;
    if (!applied && lossScale !== undefined && wasScaledTooHigh(outcome)) {
      this.#first ??= { step, lossScale };
      this.#last = step;
      return null;
    }
    const first = this.#first;
    this.#first = undefined;
    if (!applied || !first) return null;
    const which =
      first.step === this.#last
        ? `step ${first.step} was skipped, as its`
        : `steps ${first.step} to ${this.#last} were skipped, as their`;
    return (
      `${which} gradients left the range of f16: losses are scaled by ${lossScale} now instead of ${first.lossScale}; ` +
      'this is usual at the start and now and then later'
    );
  }
}
