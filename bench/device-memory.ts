/** @file What is used of an NVIDIA GPU's memory, by all programs, as its driver counts it. */

import { spawn, spawnSync } from 'node:child_process';

const query = (index: number) => [
  ...['-i', String(index), '--query-gpu=memory.used', '--format=csv,noheader,nounits'],
];

/** The number of a device such as `cuda:1`; undefined where it is no CUDA device. */
export function cudaIndex(device: string): number | undefined {
  const found = /^cuda(?::(\d+))?$/.exec(device);
  return found ? Number(found[1] ?? 0) : undefined;
}

/** MiB in use now; undefined where no driver tells. */
export function usedDeviceMib(index: number): number | undefined {
  const { status, stdout } = spawnSync('nvidia-smi', query(index), { encoding: 'utf8' });
  const used = Number.parseInt(stdout ?? '', 10);
  return status === 0 && Number.isFinite(used) ? used : undefined;
}

/** Looks at the memory five times a second until it is stopped. */
export class DeviceMemoryWatch {
  readonly #child;
  #peak: number | undefined;

  constructor(index: number) {
    this.#child = spawn('nvidia-smi', [...query(index), '-lms', '200'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    // A machine without the program has no such memory.
    this.#child.on('error', () => {});
    this.#child.stdout.on('data', (text: Buffer) => {
      for (const line of text.toString().split('\n')) {
        const used = Number.parseInt(line, 10);
        if (Number.isFinite(used)) this.#peak = Math.max(this.#peak ?? 0, used);
      }
    });
  }

  /** The most MiB that were in use. */
  get peakMib(): number | undefined {
    return this.#peak;
  }

  stop(): void {
    this.#child.kill();
  }
}
