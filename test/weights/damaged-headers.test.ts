/** @file Thousands of randomly damaged files: each is read or refused with one line, never more. */

import { writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Rng } from '../../src/tensor/rng.ts';
import { UserError } from '../../src/tensor/user-error.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import { tiny } from './golden-vectors.ts';
import { temporaryFolder } from './temporary-folder.ts';

const at = temporaryFolder();
const golden = Buffer.from(tiny.expected.file_base64 ?? '', 'base64');

const snippets = [
  '"', '\\', '{', '}', '[', ']', ',', ':', ' ', '\n', '0', '-1', '1e9', '9007199254740993', '99999999999999999999',
  'null', 'true', '"F64"', '"F4"', '"F6_E2M3"', '"X"', '"__metadata__":{},', '\\u0000', '\\ud800', '[[[[', '{"a":',
  '"dtype":"F32",', '"shape":[],', '"data_offsets":[0,0],', '\u00e9', '\u{1f600}',
]; // biome-ignore format: a list of fragments

/** The golden file with one to four wounds: bytes changed, cut, doubled, put in, or its length changed. */
function damaged(rng: Rng): Buffer {
  let bytes = Buffer.from(golden);
  for (let wounds = rng.integer(4); wounds >= 0; wounds--) {
    const start = rng.integer(bytes.length + 1);
    const end = Math.min(start + rng.integer(40), bytes.length);
    const put = (part: Buffer) =>
      Buffer.concat([bytes.subarray(0, start), part, bytes.subarray(end)]);
    const kind = rng.integer(7);
    if (kind === 0) bytes.fill(rng.integer(256), start, Math.min(start + 1, bytes.length));
    else if (kind === 1) bytes = put(Buffer.alloc(0));
    else if (kind === 2)
      bytes = put(Buffer.concat([bytes.subarray(start, end), bytes.subarray(start, end)]));
    else if (kind === 3) bytes = put(Buffer.from(snippets[rng.integer(snippets.length)] ?? ''));
    else if (kind === 4) bytes = bytes.subarray(0, start);
    else if (kind === 5 && bytes.length >= 8) {
      bytes.writeBigUInt64LE(
        BigInt.asUintN(64, BigInt(rng.integer(2 ** 53)) >> BigInt(rng.integer(53))),
      );
    } else if (bytes.length >= 8) {
      // Keeps the length right, so that what follows reaches the parser.
      bytes.writeBigUInt64LE(BigInt(Math.max(bytes.length - 8 - 34, 0)));
    }
  }
  if (rng.integer(2) && bytes.length > 50) bytes.writeBigUInt64LE(BigInt(bytes.length - 8 - 34));
  return bytes;
}

test('2500 damaged files', async () => {
  const outcomes = { read: 0, refused: 0 };
  const reasons = new Set<string>();
  for (let i = 0; i < 2500; i++) {
    // A new name each time: to write over a file is ten times as slow.
    const path = at(`${i}.safetensors`);
    writeFileSync(path, damaged(new Rng(7, 'damage', i)));
    try {
      const file = await openSafetensors(path);
      try {
        for (const [name, { dtype }] of file.entries) if (dtype) file.readF32Sync(name);
      } finally {
        file.close();
      }
      outcomes.read++;
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      const { message } = error;
      if (/\p{Cc}/u.test(message) || message.length > 900) expect.fail(`case ${i}: ${message}`);
      outcomes.refused++;
      reasons.add(message.replace(path, '').replaceAll(/"[^"]*"|\d+/g, ''));
    }
  }
  // Both ends are met: a damaged value or metadata text is no damage that can be seen.
  expect(outcomes.read).toBeGreaterThan(20);
  expect(outcomes.refused).toBeGreaterThan(1500);
  expect(reasons.size).toBeGreaterThan(30);
});
