/** @file Reads one caption file: UTF-8, its first line that is not blank. */

import { readFile } from 'node:fs/promises';
import { UserError } from '../tensor/user-error.ts';

/** Longer texts are no captions; training reads 225 tokens at most, some 1000 letters. */
const maxBytes = 100_000;

const replacement = Buffer.from('\ufffd');

/** Offset of the first byte that is not UTF-8, or -1. */
function invalidUtf8At(bytes: Buffer): number {
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
  let offset = 0;
  let from = 0;
  for (;;) {
    const at = text.indexOf('\ufffd', from);
    if (at < 0) return -1;
    // All text before `at` is valid or is a true U+FFFD, so its length in bytes is exact.
    offset += Buffer.byteLength(text.slice(from, at));
    if (!bytes.subarray(offset, offset + 3).equals(replacement)) return offset;
    offset += 3;
    from = at + 1;
  }
}

/**
 * The caption in a file: its first line with text, trimmed; a byte order mark and CR LF are accepted.
 * @throws UserError where the file is not UTF-8 (with the byte's offset) or has no text.
 */
export async function readCaptionFile(path: string): Promise<string> {
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    throw new UserError(`${path}: cannot be read (${error.code}); check the file's permissions`);
  });
  if (bytes.length > maxBytes) {
    throw new UserError(
      `${path}: has ${bytes.length} bytes, which is no caption; write a short text, or remove the file`,
    );
  }
  const utf16 = bytes.length >= 2 && [0xfffe, 0xfeff].includes(bytes.readUInt16BE(0));
  const invalid = invalidUtf8At(bytes);
  if (utf16 || invalid >= 0 || bytes.includes(0)) {
    const offset = utf16 ? 0 : invalid >= 0 ? invalid : bytes.indexOf(0);
    const value = `0x${bytes[offset]!.toString(16).padStart(2, '0')}`;
    const guess =
      utf16 || invalid < 0 ? 'it looks like UTF-16' : 'it may be Latin-1 or another code page';
    throw new UserError(
      `${path}: the caption is not UTF-8 text (byte ${offset} is ${value}; ${guess}); save it again as UTF-8`,
    );
  }
  const lines = bytes
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .split(/\r\n|\r|\n/);
  const caption = lines.map((line) => line.trim()).find((line) => line !== '');
  if (caption === undefined || /^[\s,]*$/.test(caption)) {
    const found = caption === undefined ? 'is empty' : 'has nothing but commas';
    throw new UserError(
      `${path}: the caption file ${found}; write a caption in it, or delete it and give the folder a \`caption\` in the configuration`,
    );
  }
  return caption;
}
