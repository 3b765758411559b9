/**
 * @file What a step spends on a GPU, kernel by kernel, from a file that record-kernels.c has written.
 *
 *     npx tsx bench/kernel-times/summarize-kernels.ts times.txt
 *
 * A step is the shortest row of kernels that the recording ends on twice.
 */

import { readFileSync } from 'node:fs';

interface Kernel {
  readonly stream: number;
  /** Nanoseconds of the GPU's clock. */
  readonly start: number;
  readonly end: number;
  readonly name: string;
  readonly blocks: number;
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
      const [start, end, stream, name, blocks] = line.split(' ').map(Number);
      kernels.push({
        stream: stream!,
        start: start!,
        end: end!,
        name: names[name!]!,
        blocks: blocks!,
      });
    }
  }
  return kernels.sort((a, b) => a.start - b.start);
}

/** Those of the stream that has most: copies for other steps run beside it. */
function onBusiestStream(kernels: readonly Kernel[]): Kernel[] {
  const counts = new Map<number, number>();
  for (const { stream } of kernels) counts.set(stream, (counts.get(stream) ?? 0) + 1);
  const busiest = [...counts].sort(([, a], [, b]) => b - a)[0]?.[0];
  return kernels.filter(({ stream }) => stream === busiest);
}

/** Kernels of the last step but one, and how long the last one is in nanoseconds from its first start on. */
function lastStep(kernels: readonly Kernel[]): { step: readonly Kernel[]; wall: number } {
  const key = (i: number) => kernels[i]!.name;
  for (let size = 100; 2 * size < kernels.length; size++) {
    const end = kernels.length;
    let same = 0;
    while (same < size && key(end - 1 - same) === key(end - 1 - size - same)) same++;
    if (same < size) continue;
    const first = kernels[end - 2 * size]!.start;
    return {
      step: kernels.slice(end - 2 * size, end - size),
      wall: kernels[end - size]!.start - first,
    };
  }
  throw new Error('no step is repeated at the end of this recording');
}

const milliseconds = (nanoseconds: number) => (nanoseconds / 1e6).toFixed(3);

function main(): void {
  const { step, wall } = lastStep(onBusiestStream(readKernels(process.argv[2]!)));
  const groups = new Map<string, { time: number; count: number; blocks: Set<number> }>();
  let busy = 0;
  for (const { start, end, name, blocks } of step) {
    const group = groups.get(name) ?? { time: 0, count: 0, blocks: new Set() };
    group.time += end - start;
    group.count++;
    group.blocks.add(blocks);
    groups.set(name, group);
    busy += end - start;
  }
  print(
    `${step.length} kernels and copies a step, ${milliseconds(busy)} ms of ${milliseconds(wall)} ms`,
  );
  const rows = [...groups].sort(([, a], [, b]) => b.time - a.time);
  for (const [name, { time, count }] of rows) {
    const share = ((100 * time) / busy).toFixed(1).padStart(5);
    print(`${share} % ${milliseconds(time).padStart(9)} ms ${String(count).padStart(5)} ${name}`);
  }
}

main();
