/** @file Reads PyTorch's numbers from test/fixtures/golden. */

import { join } from 'node:path';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';

/** The values of a tensor of `file`, whatever its type. */
export async function goldenValues(file: string): Promise<(name: string) => number[]> {
  const opened = await openSafetensors(join(import.meta.dirname, '../fixtures/golden', file));
  return (name) => Array.from(opened.readSync(name).data, Number);
}
