/** @file Paths as people would type them from where they are. */

import { relative } from 'node:path';

/** The path from the working directory where it lies below that, else as it is. */
export function shownPath(path: string): string {
  const near = relative(process.cwd(), path);
  return near !== '' && !near.startsWith('..') ? near : path;
}
