/** @file A process's memory on a GPU is told apart from others'; a program in nvidia-smi's place prints it. */

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { cudaIndex, DeviceMemoryWatch, usedDeviceMib } from '../../bench/device-memory.ts';

const path = process.env['PATH'];
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nvidia-smi-'));
  process.env['PATH'] = `${folder}${delimiter}${path}`;
});

afterEach(() => {
  process.env['PATH'] = path;
  rmSync(folder, { recursive: true });
});

/** @param processes lines of the driver about processes */
function driverSays(processes: string): void {
  const file = join(folder, 'nvidia-smi');
  const answer = `case "$*" in *compute-apps*) printf '${processes}';; *) echo 9000;; esac`;
  writeFileSync(file, `#!/bin/sh\n${answer}\ncase "$*" in *lms*) exec sleep 5;; esac\n`);
  chmodSync(file, 0o755);
}

test('the numbers of CUDA devices', () => {
  expect([cudaIndex('cuda'), cudaIndex('cuda:2'), cudaIndex('cpu')]).toEqual([0, 2, undefined]);
});

test.skipIf(process.platform === 'win32')('a process has what the driver says of it', async () => {
  driverSays('11, 400\\n12, 3000\\n');
  expect(usedDeviceMib(0, 12)).toBe(3000);
  const watch = new DeviceMemoryWatch(0, 11);
  await expect.poll(() => watch.peakMib).toBe(400);
  watch.stop();
});

test.skipIf(process.platform === 'win32')(
  'where it does not tell, all that is used counts',
  async () => {
    driverSays('[N/A]\\n');
    expect(usedDeviceMib(0, 12)).toBe(9000);
    const watch = new DeviceMemoryWatch(0, 12);
    await expect.poll(() => watch.peakMib).toBe(9000);
    watch.stop();
  },
);
