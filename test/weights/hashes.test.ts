/** @file The hashes of adapters and checkpoints. */

import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { UserError } from '../../src/tensor/user-error.ts';
import {
  fileSha256,
  sdModelHash,
  sshsLegacyHash,
  sshsModelHash,
} from '../../src/weights/hashes.ts';
import { dataChunks, serializeHeader } from '../../src/weights/safetensors-writer.ts';
import { large, tiny } from './golden-vectors.ts';
import { temporaryFolder } from './temporary-folder.ts';

const at = temporaryFolder();

test.each([
  ['tiny', tiny],
  ['1.2 MB', large],
])('both hashes of the golden file %s', (_, { tensors, metadata, expected }) => {
  const data = dataChunks(tensors);
  expect(sshsModelHash(data)).toBe(expected.sshs_model_hash);
  const training = new Map([...metadata].filter(([key]) => key.startsWith('ss_')));
  const file = [serializeHeader(tensors, training), ...data];
  expect(sshsLegacyHash(file)).toBe(expected.sshs_legacy_hash);
  const whole = Buffer.concat(file);
  const pieces = Array.from({ length: Math.ceil(whole.length / 999) }, (_, i) =>
    whole.subarray(i * 999, i * 999 + 999),
  );
  expect(sshsLegacyHash(pieces)).toBe(expected.sshs_legacy_hash);
});

test('the whole large golden file', () => {
  const metadata = new Map([
    ...large.metadata,
    ['sshs_model_hash', large.expected.sshs_model_hash] as const,
    ['sshs_legacy_hash', large.expected.sshs_legacy_hash] as const,
  ]);
  const hash = createHash('sha256').update(serializeHeader(large.tensors, metadata));
  for (const chunk of dataChunks(large.tensors)) hash.update(chunk);
  expect(hash.digest('hex')).toBe(large.expected.file_sha256);
});

test('hashes of a checkpoint', async () => {
  const bytes = Buffer.from(Uint8Array.from({ length: 0x118000 }, (_, i) => (i * i) >> 7));
  writeFileSync(at('base.safetensors'), bytes);
  const sha256 = (part: Buffer) => createHash('sha256').update(part).digest('hex');
  expect(await fileSha256(at('base.safetensors'))).toBe(sha256(bytes));
  expect(await sdModelHash(at('base.safetensors'))).toBe(
    sha256(bytes.subarray(0x100000, 0x110000)).slice(0, 8),
  );
  writeFileSync(at('small.safetensors'), 'abc');
  expect(await sdModelHash(at('small.safetensors'))).toBe('e3b0c442');
  await expect(fileSha256(at('none.safetensors'))).rejects.toThrow(UserError);
});
