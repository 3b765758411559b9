/** @file What a process uses of an NVIDIA GPU's memory, as its driver counts it; of all of them, where it does not tell them apart. */

import { spawn, spawnSync } from 'node:child_process';

type Query = 'gpu=memory.used' | 'compute-apps=pid,used_memory';

const query = (index: number, what: Query) => [
  ...['-i', String(index), `--query-${what}`, '--format=csv,noheader,nounits'],
];

/** The number of a device such as `cuda:1`; undefined where it is no CUDA device. */
export function cudaIndex(device: string): number | undefined {
  const found = /^cuda(?::(\d+))?$/.exec(device);
  return found ? Number(found[1] ?? 0) : undefined;
}

/** MiB in a line of `process, MiB`, or of MiB alone; undefined where it is another process's or no number. */
function mibIn(line: string, what: Query, pid: number): number | undefined {
  const [first, second] = line.split(',').map((text) => Number.parseInt(text, 10));
  const mib = what === 'gpu=memory.used' ? first : first === pid ? second : undefined;
  return mib !== undefined && Number.isFinite(mib) ? mib : undefined;
}

/** The largest figure in what was printed. */
function mostIn(text: string, what: Query, pid: number): number | undefined {
  const found = text.split('\n').flatMap((line) => mibIn(line, what, pid) ?? []);
  return found.length > 0 ? Math.max(...found) : undefined;
}

/** MiB in use now; undefined where no driver tells. */
export function usedDeviceMib(index: number, pid: number): number | undefined {
  const ask = (what: Query) => {
    const { stdout } = spawnSync('nvidia-smi', query(index, what), { encoding: 'utf8' });
    return mostIn(stdout ?? '', what, pid);
  };
  return ask('compute-apps=pid,used_memory') ?? ask('gpu=memory.used');
}

/** Looks at the memory five times a second until it is stopped. */
export class DeviceMemoryWatch {
  readonly #children;
  readonly #peaks = new Map<Query, number>();

  constructor(index: number, pid: number) {
    this.#children = (['gpu=memory.used', 'compute-apps=pid,used_memory'] as const).map((what) => {
      const child = spawn('nvidia-smi', [...query(index, what), '-lms', '200'], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      // A machine without the program has no such memory.
      child.on('error', () => {});
      child.stdout.on('data', (text: Buffer) => {
        const most = mostIn(text.toString(), what, pid);
        if (most !== undefined) this.#peaks.set(what, Math.max(this.#peaks.get(what) ?? 0, most));
      });
      return child;
    });
  }

  /** The most MiB that were in use. */
  get peakMib(): number | undefined {
    return this.#peaks.get('compute-apps=pid,used_memory') ?? this.#peaks.get('gpu=memory.used');
  }

  stop(): void {
    for (const child of this.#children) child.kill();
  }
}
