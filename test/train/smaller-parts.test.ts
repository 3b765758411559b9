/** @file A batch that is too large for the device's memory is cut into parts, with the same result. */

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test, vi } from 'vitest';
import { peakValueBytes } from '../../src/graph/peak-bytes.ts';
import { OutOfMemoryError } from '../../src/runtime/executor.ts';
import { gradientGraph } from '../../src/train/lora-step.ts';
import type { TrainerOptions } from '../../src/train/lora-trainer.ts';
import {
  type SmallerParts,
  smallerParts,
  smallerPartsText,
} from '../../src/train/smaller-parts.ts';
import { torchMissing } from '../helpers/executors.ts';
import { withMemory } from '../helpers/little-memory.ts';
import type { ShortOfMemory } from './out-of-memory-child.ts';
import { batch, makeTrainer, rates } from './tiny-trainer.ts';
import { tinyExecutor, tinyLayouts, tinyModel } from './tiny-training.ts';

// A process of its own, with the networks; two seconds on a machine that has nothing else to do.
vi.setConfig({ testTimeout: 120_000 });

const full = new OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB');

test('half of what was too much, until one is left', () => {
  const halves = [8, 5, 3, 2].map((tooMany) => smallerParts(full, tooMany, false).microBatch);
  expect(halves).toEqual([4, 3, 2, 1]);
  expect(smallerPartsText(smallerParts(full, 4, false))).toMatch(
    /^the device has no memory for 4 pictures at once \(CUDA out .*2\.00 GiB\): .* with 2 at once/,
  );
  expect(() => smallerParts(full, 1, false)).toThrow(
    /one picture at once \(CUDA .*\): set train\.gradientCheckpointing: true, lower data\.resolution, or let device\.memory/,
  );
  expect(() => smallerParts(full, 1, true)).toThrow(/GiB\): lower data\.resolution, or let device/);
});

test('other errors are passed on', () => {
  const other = new Error('internal: libtorch: aten::embedding: index out of range');
  expect(() => smallerParts(other, 4, false)).toThrow(other);
});

const groups = { unet: true, textEncoder: false };

/** A trainer on a device that has room for the values of so many small pictures at once. */
function onSmallDevice(pictures: number, changes: Partial<TrainerOptions> = {}) {
  const shape = { batch: 1, height: 2, width: 2, text: { tokens: 77 } };
  const options = { clipSkip: 1, gradientCheckpointing: false };
  const graph = gradientGraph(tinyModel, tinyLayouts(groups), shape, options);
  const room = pictures * peakValueBytes(graph);
  const found: SmallerParts[] = [];
  const made = makeTrainer(groups, {
    executor: withMemory(tinyExecutor(), room),
    onSmallerParts: (parts) => found.push(parts),
    ...changes,
  });
  return { ...made, found };
}

test('what was gathered before is discarded, and the next step begins with what fits', async () => {
  const batches = [batch(0), batch(0, 1)];
  const small = onSmallDevice(1.5);
  const parts = onSmallDevice(1.5, { microBatch: 1 });
  for (const step of [0, 1]) {
    const outcome = await small.trainer.step(batches, step, rates);
    expect(outcome).toEqual(await parts.trainer.step(batches, step, rates));
  }
  expect(small.found).toMatchObject([{ tooMany: 2, microBatch: 1 }]);
  expect(parts.found).toEqual([]);
  expect(small.read('lora.unet')).toEqual(parts.read('lora.unet'));
});

test('where one picture is too large, nothing is changed', async () => {
  const { trainer, found, read } = onSmallDevice(0.5);
  const before = read('lora.unet');
  await expect(trainer.step([batch(0, 1)], 0, rates)).rejects.toThrow(
    /no memory for one picture at once \(\d+ bytes are wanted\): set train\.gradientCheckpointing/,
  );
  expect(found).toHaveLength(1);
  expect(read('lora.unet')).toEqual(before);
});

/** Four pictures at once need more than `room` bytes, two need less. */
async function trainIn(room: number, executor: string): Promise<ShortOfMemory> {
  const child = join(import.meta.dirname, 'out-of-memory-child.ts');
  const args = ['--import', 'tsx', child, executor, String(room), '2'];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args);
  expect(stderr).toBe('');
  return JSON.parse(stdout) as ShortOfMemory;
}

// The limit of the address space is Linux's, and so is the allocator that is asked.
const canLimit = process.platform === 'linux' && existsSync('/proc/self/statm');
const cases = [
  { executor: 'torch', room: 8e6, missing: torchMissing },
  { executor: 'onnx', room: 36e6, missing: undefined },
].map((each) => ({ ...each, missing: canLimit ? each.missing : 'only on Linux' }));

for (const { executor, room, missing } of cases) {
  const skipped = missing === undefined ? '' : ` (skipped: ${missing})`;
  test.skipIf(missing !== undefined)(
    `${executor}: a step begun anew in parts is the step of a run in such parts, to the last bit${skipped}`,
    async () => {
      const { found, left, isSame, refusal } = await trainIn(room, executor);
      expect(found).toMatchObject([{ tooMany: 4, microBatch: 2 }]);
      expect(found[0]!.reason).toMatch(/can't allocate memory|Failed to allocate memory/);
      expect({ isSame, refusal }).toEqual({ isSame: true, refusal: null });
      // Node's own come and go.
      expect(left[0]).toBeLessThan(2e6);
    },
  );
}
