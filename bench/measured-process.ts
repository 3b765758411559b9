/** @file One side of a comparison: a process that writes its figures to a file, and may wait for its turn before. */

import { type ChildProcess, execFile } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { DeviceMemoryWatch } from './device-memory.ts';
import type { Figures } from './peer-figures.ts';

const run = promisify(execFile);
/** Milliseconds between two looks for a file. */
const glance = 100;

export interface MeasuredOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** The file that it writes. */
  readonly report: string;
  /** The NVIDIA GPU whose memory is watched. */
  readonly gpu: number | undefined;
  /** Most seconds; what takes longer is given up. */
  readonly limit: number;
  /** A file in whose name it says `.ready`, and waits for `.go`; it does not wait unless given. */
  readonly turn?: string;
}

export class MeasuredProcess {
  readonly #options: MeasuredOptions;
  readonly #child: ChildProcess;
  /** Why it failed; undefined where it did not. */
  readonly #end: Promise<Error | undefined>;
  #isOver = false;

  constructor(options: MeasuredOptions) {
    this.#options = options;
    const { command, args, env, limit, turn } = options;
    const running = run(command, args, {
      env: turn === undefined ? env : { ...env, PEER_TURN: turn },
      maxBuffer: 2 ** 26,
      timeout: 1000 * limit,
    });
    this.#child = running.child;
    this.#end = running.then(
      () => undefined,
      (error: unknown) => this.#reason(error),
    );
    void this.#end.then(() => {
      this.#isOver = true;
    });
  }

  /** Until it waits for its turn, or has failed. */
  async ready(): Promise<void> {
    const { turn } = this.#options;
    if (turn === undefined) return;
    while (!(this.#isOver || existsSync(`${turn}.ready`))) await sleep(glance);
  }

  /** Lets it begin what counts, once it is ready, and waits for its end. @throws Error where it failed */
  async figures(): Promise<Figures> {
    const { turn, gpu, report } = this.#options;
    await this.ready();
    if (turn !== undefined) writeFileSync(`${turn}.go`, '');
    const { pid } = this.#child;
    const watch =
      gpu === undefined || pid === undefined ? undefined : new DeviceMemoryWatch(gpu, pid);
    const failure = await this.#end;
    watch?.stop();
    if (failure) throw failure;
    const figures = JSON.parse(readFileSync(report, 'utf8')) as Figures;
    const gpuMib = watch?.peakMib;
    return gpuMib === undefined ? figures : { ...figures, gpuMib };
  }

  stop(): void {
    this.#child.kill();
  }

  #reason(error: unknown): Error {
    const { command, limit } = this.#options;
    const { stderr, killed } = error as { readonly stderr?: string; readonly killed?: boolean };
    if (killed) return new Error(`longer than --limit ${limit} s`);
    const lines = (stderr ?? String(error)).trim().split('\n');
    const line = lines.findLast((each) => /error/i.test(each)) ?? lines.at(-1);
    return new Error(`${command} failed: ${line}`);
  }
}
