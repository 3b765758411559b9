/** @file A batch that is too large for the device's memory is cut into parts, with the same result. */

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test, vi } from 'vitest';
import { OutOfMemoryError } from '../../src/runtime/executor.ts';
import { smallerParts, smallerPartsText } from '../../src/train/smaller-parts.ts';
import { torchMissing } from '../helpers/executors.ts';
import type { ShortOfMemory } from './out-of-memory-child.ts';

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
