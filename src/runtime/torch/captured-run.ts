/**
 * @file Runs a plan on a CUDA device: call by call at first, then captured as one graph, which a single
 * launch repeats. Before it is relied on, the graph has to give what the plan gives. What cannot be
 * captured goes on call by call.
 */

import { compareRuns } from './agreement.ts';
import type { GraphMaker, LaunchableGraph } from './graph-pool.ts';
import type { Plan } from './plan.ts';
import { timeOf } from './replay-clock.ts';
import type { SideStream } from './side-stream.ts';

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
interface SideWork {
  readonly stream: SideStream;
  /** Captures what is only timed, in memory that it gives back. */
  readonly trials: GraphMaker;
  /** Until all that was begun on the device is done. */
  readonly wait: () => void;
  /** Gives the device memory back that nothing has. */
  readonly releaseCache: () => void;
}

type SavedState = ReturnType<RunState['save']>;

export interface CapturedRunOptions {
  readonly plan: Plan;
  readonly maker: GraphMaker;
  readonly state: RunState;
  /** Where calls run beside others in the graph, if that is faster; one after the other unless given. */
  readonly side?: SideWork | undefined;
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

  constructor(options: CapturedRunOptions) {
    this.#options = options;
  }

  /** Whether results are the graph's, to be left where they are. */
  get isCaptured(): boolean {
    return this.#graph !== undefined;
  }

  async run(): Promise<void> {
    this.#runs++;
    const plain = this.#options.isNetwork ? plainRunsOfNetworks : plainRuns;
    if (this.#graph) this.#graph.launch();
    else if (this.#isRefused || this.#runs <= plain) await this.#options.plan.run();
    else await this.#captureRun();
  }

  /** A run call by call, which shows what a launch of the graph has to give. */
  async #captureRun(): Promise<void> {
    const { plan, state } = this.#options;
    const saved = state.save();
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
        return;
      }
      this.#refuse(made);
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
    const { plan, maker, side } = this.#options;
    const timeWith = (stream?: SideStream): number => {
      const made = this.#capture(side!.trials, saved, expected, stream);
      if (typeof made === 'string') return Number.POSITIVE_INFINITY;
      const time = timeOf(() => made.launch(), side!.wait);
      plan.clear();
      plan.clearResults();
      made.dispose();
      return time;
    };
    const isFaster = side && plan.hasSideCalls && timeWith(side.stream) < timeWith();
    return this.#capture(maker, saved, expected, isFaster ? side.stream : undefined);
  }

  #capture(
    maker: GraphMaker,
    saved: SavedState,
    expected: readonly ArrayLike<number>[],
    side?: SideStream,
  ): LaunchableGraph | string {
    const { plan, state } = this.#options;
    const work = () => {
      // Of a run before, also of one that was only captured.
      plan.clear();
      plan.clearResults();
      plan.runAtOnce(side);
    };
    if (side) {
      // libtorch makes work space for a stream when it is first used, which must not be the graph's.
      // What the run before it took lies in other pieces.
      plan.clear();
      plan.clearResults();
      this.#options.side?.releaseCache();
      work();
    }
    saved.restore();
    const made = maker.capture(work);
    if (typeof made === 'string') return made;
    made.launch();
    if (compareRuns(expected, state.read()) === 'same') return made;
    plan.clear();
    plan.clearResults();
    made.dispose();
    return 'its replay does not give the same values';
  }

  #refuse(reason: string): void {
    this.#isRefused = true;
    this.release();
    this.#options.onRefused(reason);
  }

  /** Gives the graph up; the next runs are call by call until it is captured again. */
  release(): void {
    const { plan } = this.#options;
    plan.clear();
    plan.clearResults();
    this.#graph?.dispose();
    this.#graph = undefined;
    this.#runs = 0;
  }

  /** As `release`, and for good. */
  giveUp(): void {
    this.#isRefused = true;
    this.release();
  }
}
