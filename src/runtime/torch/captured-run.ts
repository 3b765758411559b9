/**
 * @file Runs a plan on a CUDA device: call by call at first, then captured as one graph, which a single
 * launch repeats. Before it is relied on, the graph has to give what the plan gives. What cannot be
 * captured goes on call by call.
 */

import { OutOfMemoryError } from '../executor.ts';
import { compareRuns } from './agreement.ts';
import type { GraphMaker, LaunchableGraph } from './graph-pool.ts';
import type { Plan } from './plan.ts';
import { timeOf } from './replay-clock.ts';
import type { Beside } from './side-run.ts';

/** Runs before a capture: who runs less often is not worth it. */
const plainRuns = 2;
/**
 * A network's: one more, so that an optimizer that runs after it is captured before it, and the memory of both is the
 * larger one's, not the sum.
 */
const plainRunsOfNetworks = 3;
/** Runs that may be without finite values, as those of f16 are at first, before no more are tried. */
const patience = 20;

/** What a run leaves, seen from outside. */
export interface RunState {
  /** Keeps what a run changes. @returns takes all back, as often as it is called, and `forget` */
  save(): { readonly restore: () => void; readonly forget: () => void };
  /** The results and what was changed. */
  read(): readonly ArrayLike<number>[];
}

/** A second stream, and what shows whether a graph is faster with it. */
interface SideWork extends Beside {
  /** Captures what is only timed, in memory that it gives back. */
  readonly trials: GraphMaker;
  /** Until all that was begun on the device is done. */
  readonly wait: () => void;
}

/** Of the time without a second stream, which it has to be below: it costs work space, and trials vary. */
const clearly = 0.98;

type SavedState = ReturnType<RunState['save']>;

export interface CapturedRunOptions {
  readonly plan: Plan;
  readonly maker: GraphMaker;
  readonly state: RunState;
  /** Where calls run beside others in the graph, if that is faster; one after the other unless given. */
  readonly side?: SideWork | undefined;
  /** Gives the device memory back that nothing has. */
  readonly releaseCache: () => void;
  /** Whether graphs of others have memory that they could give back. */
  readonly othersHold: () => boolean;
  /** Whether it reads weights. */
  readonly isNetwork?: boolean;
  /** Told once why a plan is not captured. */
  readonly onRefused: (reason: string) => void;
}

export class CapturedRun {
  readonly #options: CapturedRunOptions;
  #runs = 0;
  #graph: LaunchableGraph | undefined;
  #isRefused = false;
  /** Found once. */
  #isFasterBeside: boolean | undefined;
  /** Whether a graph of it has given what the plan gives. */
  #isProven = false;

  constructor(options: CapturedRunOptions) {
    this.#options = options;
  }

  /** Whether results are the graph's, to be left where they are. */
  get isCaptured(): boolean {
    return this.#graph !== undefined;
  }

  /** Whether it is no graph and will be none. */
  get isRefused(): boolean {
    return this.#isRefused;
  }

  /** @throws OutOfMemoryError also where graphs of others are to make room before it runs again */
  async run(): Promise<void> {
    this.#runs++;
    const plain = this.#options.isNetwork ? plainRunsOfNetworks : plainRuns;
    if (this.#graph) this.#graph.launch();
    else if (this.#isRefused || this.#runs <= plain) await this.#options.plan.run();
    else if (this.#isProven) await this.#captureAgain();
    else await this.#captureRun();
  }

  /** Without a run call by call, for which there is no memory beside the graphs of others. */
  async #captureAgain(): Promise<void> {
    const { plan, maker } = this.#options;
    const made = maker.capture(() => this.#runCleared(this.#beside), true);
    if (typeof made !== 'string') {
      this.#graph = made;
      made.launch();
      return;
    }
    if (this.#options.othersHold()) throw new OutOfMemoryError(made);
    this.#abandon(made);
    await plan.run();
  }

  /** A run call by call, which shows what a launch of the graph has to give. */
  async #captureRun(): Promise<void> {
    const { plan, state } = this.#options;
    let saved: SavedState;
    try {
      saved = state.save();
    } catch (error) {
      if (!(error instanceof OutOfMemoryError) || this.#options.othersHold()) throw error;
      // A run needs none of it.
      this.#refuse('the device has no memory left for what shows that it is right');
      return plan.run();
    }
    try {
      await plan.run();
      const expected = state.read();
      if (compareRuns(expected, expected) === 'not finite') {
        if (this.#runs > patience) this.#refuse('its values are not finite');
        return;
      }
      const made = this.#captureFastest(saved, expected);
      if (typeof made !== 'string') {
        this.#graph = made;
        this.#isProven = true;
        return;
      }
      this.#abandon(made);
      saved.restore();
      await plan.run();
    } finally {
      saved.forget();
    }
  }

  /** The graph, launched once; or why there is none. */
  #captureFastest(
    saved: SavedState,
    expected: readonly ArrayLike<number>[],
  ): LaunchableGraph | string {
    const { maker, side } = this.#options;
    this.#isFasterBeside ??= side !== undefined && this.#compare(side, saved, expected);
    return this.#capture(maker, saved, expected, this.#beside);
  }

  get #beside(): Beside | undefined {
    return this.#isFasterBeside ? this.#options.side : undefined;
  }

  /** Whether the graph is faster with the second stream. */
  #compare(side: SideWork, saved: SavedState, expected: readonly ArrayLike<number>[]): boolean {
    const { plan, releaseCache } = this.#options;
    // libtorch makes work space for a stream when it is first used, which must not be a graph's. What the
    // run before it took lies in other pieces.
    this.#clear();
    releaseCache();
    try {
      plan.runAtOnce(side);
    } catch {
      // A lack of memory above all: it holds more than a run without it, which there is room for.
      return false;
    }
    const timeWith = (beside?: Beside): number => {
      const made = this.#capture(side.trials, saved, expected, beside);
      if (typeof made === 'string') return Number.POSITIVE_INFINITY;
      const time = timeOf(() => made.launch(), side.wait);
      this.#clear();
      made.dispose();
      return time;
    };
    return timeWith(side) < clearly * timeWith();
  }

  #capture(
    maker: GraphMaker,
    saved: SavedState,
    expected: readonly ArrayLike<number>[],
    beside?: Beside,
  ): LaunchableGraph | string {
    const { state } = this.#options;
    saved.restore();
    const made = maker.capture(() => this.#runCleared(beside));
    if (typeof made === 'string') return made;
    made.launch();
    if (compareRuns(expected, state.read()) === 'same') return made;
    this.#clear();
    made.dispose();
    return 'its replay does not give the same values';
  }

  #runCleared(beside: Beside | undefined): void {
    this.#clear();
    this.#options.plan.runAtOnce(beside);
  }

  /** Frees what a run before has left, also one that was only captured. */
  #clear(): void {
    const { plan } = this.#options;
    plan.clear();
    plan.clearResults();
  }

  /** Before a run call by call takes the place of what could not be captured. */
  #abandon(reason: string): void {
    this.makeRoom();
    this.#options.releaseCache();
    this.#refuse(reason);
  }

  /** What a run has given stays. */
  #refuse(reason: string): void {
    this.#isRefused = true;
    this.#options.onRefused(reason);
  }

  /** Gives the graph up; the next runs are call by call until it is captured again. */
  release(): void {
    this.makeRoom();
    this.#runs = 0;
    this.#isProven = false;
  }

  /** Gives the graph's memory back; it is captured again by the next run. */
  makeRoom(): void {
    this.#clear();
    this.#graph?.dispose();
    this.#graph = undefined;
  }

  /** As `release`, and for good. */
  giveUp(): void {
    this.#isRefused = true;
    this.release();
  }
}
