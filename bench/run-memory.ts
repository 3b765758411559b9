/**
 * @file Host and GPU memory over the steps of a whole run, as `sdl-train --config` makes it, with its data,
 * caches, states and previews. Nothing of the run is kept.
 *
 *     npx tsx bench/run-memory.ts --config configs/character.yaml --set train.steps=2000 --json memory.json
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { executorFactory, executorText, memoryModel } from '../src/cli/create-executor.ts';
import { loadRunConfig } from '../src/cli/load-run-config.ts';
import { trainLora } from '../src/train/train-lora.ts';
import { growthPerThousand, MemoryRecorder } from './memory-series.ts';

const { values: options } = parseArgs({
  options: {
    config: { type: 'string', default: 'configs/character.yaml' },
    set: { type: 'string', multiple: true, default: [] },
    /** Steps between two looks at the memory. */
    every: { type: 'string', default: '20' },
    json: { type: 'string' },
  },
});

const folder = mkdtempSync(join(tmpdir(), 'run-memory-'));
try {
  const { config } = loadRunConfig({
    config: options.config,
    set: [
      ...options.set,
      `output.dir=${join(folder, 'out')}`,
      `data.cacheDir=${join(folder, 'cache')}`,
    ],
  });
  const where = await executorText(config);
  const recorder = new MemoryRecorder(/cuda(:\d+)?/.exec(where)?.[0] ?? 'cpu');
  const began = performance.now();
  const { step } = await trainLora({
    config,
    createExecutor: executorFactory(config),
    memoryModel: () => memoryModel(config),
    log: () => {},
    onProgress: ({ phase, done }) => {
      if (phase === 'train' && (done === 1 || done % Number(options.every) === 0)) {
        recorder.take(done);
      }
    },
    stop: () => false,
    restart: true,
  });
  const growth = growthPerThousand(recorder.samples, ({ host }) => host);
  const [first, last] = [recorder.samples[0]!, recorder.samples.at(-1)!];
  process.stdout.write(
    `${where}: ${step} steps in ${((performance.now() - began) / 1000).toFixed(0)} s, resident ` +
      `${first.host.toFixed(0)} MiB after the first and ${last.host.toFixed(0)} MiB after the last; ` +
      `${growth.toFixed(1)} MiB per 1,000 steps in the second half\n`,
  );
  if (options.json) recorder.write(options.json, `${where}: ${step} steps of sdl-train`);
} finally {
  rmSync(folder, { recursive: true });
}
