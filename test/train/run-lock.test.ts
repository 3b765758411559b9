/** @file One run at a time in one folder. */

import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { UserError } from '../../src/tensor/user-error.ts';
import { lockRun } from '../../src/train/run-lock.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sdl-train-lock-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('the second run is refused, until the first has ended', async () => {
  const unlock = await lockRun(join(folder, 'run'));
  await expect(lockRun(join(folder, 'run'))).rejects.toThrow(/another run is writing there; wait/);
  await (await lockRun(join(folder, 'another')))();
  await unlock();
  await (await lockRun(join(folder, 'run')))();
});

test.skipIf(process.platform === 'win32')('another name of the same folder is it too', async () => {
  const unlock = await lockRun(join(folder, 'run'));
  symlinkSync(join(folder, 'run'), join(folder, 'link'));
  await expect(lockRun(join(folder, 'link'))).rejects.toThrow(UserError);
  await unlock();
});

test('a folder that cannot be made is the user’s matter', async () => {
  writeFileSync(join(folder, 'file'), '');
  await expect(lockRun(join(folder, 'file', 'run'))).rejects.toThrow(/cannot write .*is a file/);
});
