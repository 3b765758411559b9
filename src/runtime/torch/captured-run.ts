/**
 * @file Runs a plan on a CUDA device: call by call at first, then captured as one graph, which a single
 * launch repeats. What cannot be captured goes on call by call.
 */

import type { CudaDriver, CudaGraph, CudaStream } from './cuda-driver.ts';
import type { Plan } from './plan.ts';

/** Runs call by call on the stream that all share: a graph that runs no more often is not captured. */
const sharedRuns = 2;

export class CapturedRun {
  readonly #driver: CudaDriver;
  readonly #shared: CudaStream;
  readonly #plan: Plan;
  #runs = 0;
  #stream: CudaStream | undefined;
  #graph: CudaGraph | undefined;
  #isRefused = false;

  constructor(driver: CudaDriver, shared: CudaStream, plan: Plan) {
    this.#driver = driver;
    this.#shared = shared;
    this.#plan = plan;
  }

  /** Whether registers are the graph's, to be left as they are. */
  get isCaptured(): boolean {
    return this.#graph !== undefined;
  }

  async run(): Promise<void> {
    const driver = this.#driver;
    if (this.#isRefused || this.#runs < sharedRuns) {
      driver.use(this.#shared);
      await this.#plan.run();
    } else if (this.#stream === undefined) {
      // Once on a stream of its own, so that all memory for the capture is there.
      this.#stream = driver.createStream();
      driver.use(this.#stream);
      await this.#plan.run();
    } else {
      driver.use(this.#stream);
      this.#graph ??= driver.capture(this.#stream, () => this.#plan.runAtOnce());
      if (this.#graph === undefined) {
        this.#isRefused = true;
        this.#plan.clear();
        this.#plan.clearResults();
        await this.#plan.run();
      } else {
        driver.launch(this.#graph, this.#stream);
      }
    }
    this.#runs++;
  }

  /** After its results were read: what others allocate must not come from this graph's memory. */
  end(): void {
    this.#driver.use(this.#shared);
  }

  dispose(): void {
    this.#driver.synchronize();
    if (this.#graph !== undefined) this.#driver.destroyGraph(this.#graph);
    if (this.#stream !== undefined) this.#driver.destroyStream(this.#stream);
  }
}
