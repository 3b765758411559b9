/** @file Runs the calls of a plan, those that may run beside others on a second stream. */

import { findSideCalls } from './find-side-calls.ts';
import type { SideStream } from './side-stream.ts';
import { type Call, readsOf } from './torch-emitter.ts';

/** A second stream, and the calls of a plan that may run there. */
export interface Beside {
  readonly stream: SideStream;
  readonly calls: SideRun;
}

export class SideRun {
  /** Values that are read by the calls, by index, that may run beside others. */
  readonly #aside: ReadonlyMap<number, readonly number[]>;
  /** Indices of calls that wait for those. */
  readonly #joins: ReadonlySet<number>;

  constructor(calls: readonly Call[]) {
    const { aside, joins } = findSideCalls(calls);
    const valuesOf = (i: number) => [...new Set(readsOf(calls[i]!).map(({ id }) => id))];
    this.#aside = new Map(Array.from(aside, (i) => [i, valuesOf(i)]));
    this.#joins = joins;
  }

  /** Whether any call may. */
  get isUseful(): boolean {
    return this.#aside.size > 0;
  }

  /**
   * @param actions each does the call of its index
   * @param handleOf the handle of a value now
   */
  run(
    actions: readonly (() => void)[],
    side: SideStream,
    handleOf: (value: number) => number,
  ): void {
    try {
      for (const [i, action] of actions.entries()) {
        if (this.#joins.has(i)) side.join();
        const reads = this.#aside.get(i);
        if (reads) side.run(action, reads.map(handleOf));
        else action();
      }
      side.join();
    } catch (error) {
      side.abandon();
      throw error;
    }
  }
}
