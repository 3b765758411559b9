/** @file Memory over the steps of a run: what the process holds, and what is used of the GPU. */

import { writeFileSync } from 'node:fs';
import { cudaIndex, usedDeviceMib } from './device-memory.ts';
import { residentGib } from './process-usage.ts';

export interface MemorySample {
  readonly step: number;
  /** Resident memory of the process, MiB. */
  readonly host: number;
  /** V8's heap in use, MiB. */
  readonly heap: number;
  /** What the process uses of the GPU, MiB; all that is used, where the driver does not tell. */
  readonly device?: number;
}

export interface MemorySeries {
  readonly title: string;
  readonly samples: readonly MemorySample[];
}

const mib = 2 ** 20;

/** Gathers samples; a device that is no CUDA device has none of its own. */
export class MemoryRecorder {
  readonly samples: MemorySample[] = [];
  readonly #index: number | undefined;

  constructor(device: string) {
    this.#index = cudaIndex(device);
  }

  take(step: number): void {
    const device = this.#index === undefined ? undefined : usedDeviceMib(this.#index, process.pid);
    this.samples.push({
      step,
      host: Math.round(residentGib() * 1024 * 10) / 10,
      heap: Math.round((process.memoryUsage().heapUsed / mib) * 10) / 10,
      ...(device === undefined ? {} : { device }),
    });
  }

  write(path: string, title: string): void {
    const series: MemorySeries = { title, samples: this.samples };
    writeFileSync(path, `${JSON.stringify(series, null, 1)}\n`);
  }
}

/** Growth by a straight line through the second half of the samples (least squares), MiB per 1,000 steps. */
export function growthPerThousand(
  samples: readonly MemorySample[],
  of: (sample: MemorySample) => number,
): number {
  const late = samples.slice(Math.floor(samples.length / 2));
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const [step, value] = [mean(late.map((s) => s.step)), mean(late.map(of))];
  let [product, square] = [0, 0];
  for (const sample of late) {
    product += (sample.step - step) * (of(sample) - value);
    square += (sample.step - step) ** 2;
  }
  return square === 0 ? 0 : (1000 * product) / square;
}
