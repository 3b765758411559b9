/** @file Caption files in every encoding and state that users have them in. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readCaptionFile } from '../../src/data/caption-file.ts';
import { UserError } from '../../src/tensor/user-error.ts';
import { temporaryFolder } from './pictures.ts';

async function save(bytes: Buffer | string): Promise<string> {
  const path = join(await temporaryFolder(), 'a.txt');
  await writeFile(path, bytes);
  return path;
}

test.each([
  ['plain', 'a red cube', 'a red cube'],
  ['byte order mark', '\ufeffa red cube', 'a red cube'],
  ['CR LF', 'a red cube\r\n', 'a red cube'],
  ['first line with text', '\r\n  \n\t a red cube \nmore\n', 'a red cube'],
  ['other scripts', 'café, 猫, 🐈', 'café, 猫, 🐈'],
  ['a true replacement character', 'a \ufffd b', 'a \ufffd b'],
])('%s', async (_, text, caption) => {
  expect(await readCaptionFile(await save(text))).toBe(caption);
});

test.each([
  ['Latin-1', Buffer.from('a café', 'latin1'), /a\.txt: .*byte 5 is 0xe9.*UTF-8/],
  [
    'after a true U+FFFD',
    Buffer.concat([Buffer.from('é\ufffd'), Buffer.of(0xff)]),
    /byte 5 is 0xff/,
  ],
  ['cut in a character', Buffer.from('猫').subarray(0, 2), /byte 0 is 0xe7/],
  ['an overlong form', Buffer.of(0x61, 0xc0, 0x80), /byte 1 is 0xc0/],
  [
    'UTF-16 with its mark',
    Buffer.from('\ufeffcat', 'utf16le'),
    /byte 0 is 0xff; it looks like UTF-16/,
  ],
  ['UTF-16 without', Buffer.from('cat', 'utf16le'), /byte 1 is 0x00; it looks like UTF-16/],
  ['nothing', Buffer.alloc(0), /a\.txt: the caption file is empty/],
  ['blanks only', Buffer.from(' \r\n\n\t'), /a\.txt: the caption file is empty/],
  ['a book', Buffer.alloc(100_001, 'a'), /a\.txt: has 100001 bytes, which is no caption; write/],
  ['commas only', Buffer.from(', ,,'), /a\.txt: the caption file has nothing but commas; write/],
  ['a mark only', Buffer.from('\ufeff'), /a\.txt: the caption file is empty/],
])('refuses %s', async (_, bytes, message) => {
  const path = await save(bytes);
  await expect(readCaptionFile(path)).rejects.toThrow(message);
  await expect(readCaptionFile(path)).rejects.toBeInstanceOf(UserError);
});
