/** @file Computes the steps of a graph, and frees each tensor after the last step that reads it. */

import { setImmediate } from 'node:timers/promises';
import type { Tfjs, TfTensor } from './open-tfjs.ts';
import type { Step } from './tfjs-emitter.ts';

/** Steps and, for each, the values that nobody reads after it. */
export interface Schedule {
  readonly steps: readonly Step[];
  readonly dying: readonly (readonly number[])[];
}

/** `kept` are values that stay: the graph's results, and what lives longer than a run. */
export function scheduleSteps(steps: readonly Step[], kept: ReadonlySet<number>): Schedule {
  const last = new Map<number, number>();
  for (const [i, { inputs, result }] of steps.entries()) {
    last.set(result.id, i);
    for (const { id } of inputs) last.set(id, i);
  }
  const dying = steps.map((): number[] => []);
  for (const [id, i] of last) if (!kept.has(id)) dying[i]!.push(id);
  return { steps, dying };
}

/** Milliseconds of computing after which the program may do something else, such as stop. */
const patience = 100;

/**
 * Runs all steps, in the back end's turn, on the tensors in `slots`, by value. Where it fails, what was computed is still in
 * there.
 */
export async function runSteps(
  tf: Tfjs,
  { steps, dying }: Schedule,
  slots: (TfTensor | undefined)[],
): Promise<void> {
  let since = performance.now();
  for (const [i, { inputs, result, compute }] of steps.entries()) {
    if (performance.now() - since > patience) {
      await setImmediate();
      since = performance.now();
    }
    const tensors = inputs.map(({ id }) => slots[id]!);
    slots[result.id] = tf.tidy(() => compute(tf, tensors));
    for (const id of dying[i]!) {
      slots[id]!.dispose();
      slots[id] = undefined;
    }
  }
}
