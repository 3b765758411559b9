/**
 * @file What a step spends on a GPU, kernel by kernel, from a file that record-kernels.c has written.
 *
 *     npx tsx bench/kernel-times/summarize-kernels.ts times.txt
 *
 * A step is the shortest row of kernels that the busiest stream ends on twice, with what other streams do
 * meanwhile: those of captured graphs have many.
 */

import { readFileSync } from 'node:fs';

interface Kernel {
  readonly stream: number;
  /** Nanoseconds of the GPU's clock. */
  readonly start: number;
  readonly end: number;
  readonly name: string;
}

const print = (line: string) => process.stdout.write(`${line}\n`);

function readKernels(path: string): Kernel[] {
  const names: string[] = [];
  const kernels: Kernel[] = [];
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    if (line.startsWith('# ')) {
      const [, number, name] = /^# (\d+) (.*)$/.exec(line)!;
      names[Number(number)] = name!;
    } else if (line !== '') {
      const [start, end, stream, name] = line.split(' ').map(Number);
      kernels.push({
        stream: stream!,
        start: start!,
        end: end!,
        name: names[name!]!,
      });
    }
  }
  return kernels.sort((a, b) => a.start - b.start);
}

/** Those of the stream that has most. */
function onBusiestStream(kernels: readonly Kernel[]): Kernel[] {
  const counts = new Map<number, number>();
  for (const { stream } of kernels) counts.set(stream, (counts.get(stream) ?? 0) + 1);
  const busiest = [...counts].sort(([, a], [, b]) => b - a)[0]?.[0];
  return kernels.filter(({ stream }) => stream === busiest);
}

/** When the last step but one of this stream began and ended, in nanoseconds. */
function lastStep(kernels: readonly Kernel[]): readonly [begin: number, end: number] {
  const fromEnd = (i: number) => kernels[kernels.length - 1 - i]!;
  for (let size = 100; 2 * size < kernels.length; size++) {
    let same = 0;
    while (same < size && fromEnd(same).name === fromEnd(size + same).name) same++;
    if (same === size) return [fromEnd(2 * size - 1).start, fromEnd(size - 1).start];
  }
  throw new Error('no step is repeated at the end of this recording');
}

/** Time in which any of them runs; they are in the order in which they start. */
function timeBusy(kernels: readonly Kernel[]): number {
  let [busy, until] = [0, 0];
  for (const { start, end } of kernels) {
    busy += Math.max(0, end - Math.max(start, until));
    until = Math.max(until, end);
  }
  return busy;
}

const milliseconds = (nanoseconds: number) => (nanoseconds / 1e6).toFixed(3);

function main(): void {
  const kernels = readKernels(process.argv[2]!);
  const [begin, end] = lastStep(onBusiestStream(kernels));
  const step = kernels.filter(({ start }) => start >= begin && start < end);
  const groups = new Map<string, { time: number; count: number }>();
  for (const { start, end: over, name } of step) {
    const group = groups.get(name) ?? { time: 0, count: 0 };
    group.time += over - start;
    group.count++;
    groups.set(name, group);
  }
  const sum = [...groups.values()].reduce((total, { time }) => total + time, 0);
  print(
    `${step.length} kernels and copies a step: ${milliseconds(end - begin)} ms, ${milliseconds(timeBusy(step))} ms of ` +
      `them busy; one after the other they take ${milliseconds(sum)} ms`,
  );
  const rows = [...groups].sort(([, a], [, b]) => b.time - a.time);
  for (const [name, { time, count }] of rows) {
    const share = ((100 * time) / sum).toFixed(1).padStart(5);
    print(`${share} % ${milliseconds(time).padStart(9)} ms ${String(count).padStart(5)} ${name}`);
  }
}

main();
