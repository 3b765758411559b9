/** @file Folders of golden numbers that differ from the fixture in one thing. */

import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

export const goldenFolder = join(import.meta.dirname, '../fixtures/golden');

/** A copy of one family's folder with only the named files; removed after the test. */
export function partialFamily(files: readonly string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'sdl-parity-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const file of files) cpSync(join(goldenFolder, 'sd15', file), join(folder, file));
  return folder;
}

/** A set folder with an empty folder for each family; removed after the test. */
export function emptySet(families: readonly string[]): string {
  const folder = partialFamily([]);
  for (const family of families) mkdirSync(join(folder, family));
  return folder;
}

/** All files of the fixture's family. */
export const familyFiles = readdirSync(join(goldenFolder, 'sd15'));
