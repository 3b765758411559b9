/** @file Thousands of damaged safetensors files: each is read or refused with one line, never more. */

import { rmSync, writeFileSync } from 'node:fs';
import { expect, test, vi } from 'vitest';
import { Rng } from '../../src/tensor/rng.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import { tiny } from '../weights/golden-vectors.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';
import { damagedBytes } from './damage.ts';
import { guardCases, runCases } from './survives.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });
const at = temporaryFolder();
guardCases();
const golden = Buffer.from(tiny.expected.file_base64 ?? '', 'base64');
const dataBytes = 34;

/** The golden file, damaged; most often with a length at its start that still leads to a parser. */
function damaged(rng: Rng): Buffer {
  const bytes = damagedBytes(rng, golden);
  if (bytes.length < 8) return bytes;
  const kind = rng.integer(4);
  const any = BigInt(rng.integer(2 ** 53)) >> BigInt(rng.integer(53));
  if (kind === 0) bytes.writeBigUInt64LE(any);
  else if (kind > 1) bytes.writeBigUInt64LE(BigInt(Math.max(bytes.length - 8 - dataBytes, 0)));
  return bytes;
}

test('files with damaged bytes', async () => {
  const { read, refused, reasons } = await runCases('bytes', 2500, async (i) => {
    // A new name each time: to write over a file is ten times as slow.
    const path = at(`${i}.safetensors`);
    writeFileSync(path, damaged(new Rng(7, 'damage', i)));
    const file = await openSafetensors(path);
    try {
      for (const [name, { dtype }] of file.entries) if (dtype) file.readF32Sync(name);
    } finally {
      file.close();
      rmSync(path);
    }
  });
  // Both ends are met: a damaged value or metadata text is no damage that can be seen.
  expect(read).toBeGreaterThan(20);
  expect(refused).toBeGreaterThan(1500);
  expect(reasons.size).toBeGreaterThan(30);
});
