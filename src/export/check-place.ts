/** @file Whether an adapter can be put where it shall go, asked before it is trained. */

import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { UserError } from '../tensor/user-error.ts';
import { fileError } from '../weights/file-error.ts';
import { checkOutputName, finalFileName } from './file-names.ts';
import { checkCard } from './sidecars.ts';

/** The nearest folder above `path` that is there. */
async function existingPlace(path: string): Promise<string> {
  const there = await access(path).then(
    () => true,
    () => false,
  );
  return there || dirname(path) === path ? path : existingPlace(dirname(path));
}

/**
 * Looks at the folder of an adapter, at what lies at its name, and at its card.
 * @returns the folder, or the nearest one above that is there
 * @throws UserError where the folder is none or cannot be written to, or the name is taken
 */
export async function checkPlace(dir: string, name: string): Promise<string> {
  checkOutputName(name);
  const folder = await existingPlace(dir);
  if (!(await stat(folder)).isDirectory()) {
    throw new UserError(
      `${folder}: is a file, so that nothing can be put into it; choose another output.dir`,
    );
  }
  try {
    await access(folder, constants.W_OK);
  } catch (error) {
    throw fileError(error, 'write', folder);
  }
  const path = join(dir, finalFileName(name));
  const found = await stat(path).catch(() => null);
  if (found?.isDirectory()) {
    throw new UserError(
      `${path}: is a folder, so that the adapter cannot have this name; remove it, or choose another output.name`,
    );
  }
  await checkCard(path);
  return folder;
}
