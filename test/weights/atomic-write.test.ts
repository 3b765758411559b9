/** @file A file is written wholly or not at all. */

import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { UserError } from '../../src/tensor/user-error.ts';
import { writeFileAtomic } from '../../src/weights/atomic-write.ts';
import { temporaryFolder } from './temporary-folder.ts';

const at = temporaryFolder();
const bytes = (text: string) => Buffer.from(text);

test('writes chunks, and replaces a file', async () => {
  await writeFileAtomic(at('a.bin'), bytes('one'));
  await writeFileAtomic(at('a.bin'), [bytes('t'), bytes(''), bytes('wo')]);
  expect(readFileSync(at('a.bin'), 'utf8')).toBe('two');
  expect(readdirSync(at())).toEqual(['a.bin']);
});

test.each([
  ['ENOSPC', 'the disk is full; free some space'],
  ['EDQUOT', 'disk quota'],
  ['EROFS', 'read-only'],
  ['EACCES', 'permission denied'],
  ['EXYZ', 'the system says EXYZ'],
])('%s half way leaves the old file and nothing else', async (code, message) => {
  writeFileSync(at('a.bin'), 'old');
  function* chunks() {
    yield bytes('half');
    throw Object.assign(new Error(code), { code, syscall: 'write' });
  }
  const writing = writeFileAtomic(at('a.bin'), chunks());
  await expect(writing).rejects.toThrow(UserError);
  await expect(writing).rejects.toThrow(`cannot write ${at('a.bin')}: `);
  await expect(writing).rejects.toThrow(message);
  expect(readFileSync(at('a.bin'), 'utf8')).toBe('old');
  expect(readdirSync(at())).toEqual(['a.bin']);
});

test('a failed check of the temporary file leaves nothing', async () => {
  const writing = writeFileAtomic(at('a.bin'), bytes('new'), (temporary) => {
    expect(readFileSync(temporary, 'utf8')).toBe('new');
    expect(readdirSync(at())).not.toContain('a.bin');
    throw new UserError('not good');
  });
  await expect(writing).rejects.toThrow('not good');
  expect(readdirSync(at())).toEqual([]);
});

test('our own bugs stay what they are', async () => {
  const bug = new TypeError('x is not a function');
  const writing = writeFileAtomic(at('a.bin'), bytes('new'), () => {
    throw bug;
  });
  await expect(writing).rejects.toBe(bug);
});

test('says what is wrong with the path', async () => {
  const writing = writeFileAtomic(at('none', 'a.bin'), bytes('x'));
  await expect(writing).rejects.toThrow(`the folder ${at('none')} does not exist; create it`);
  mkdirSync(at('folder'));
  await expect(writeFileAtomic(at('folder'), bytes('x'))).rejects.toThrow(UserError);
  writeFileSync(at('file'), '');
  await expect(writeFileAtomic(at('file', 'a.bin'), bytes('x'))).rejects.toThrow('not a folder');
  await expect(writeFileAtomic(at('a\0b'), bytes('x'))).rejects.toThrow(UserError);
  await expect(writeFileAtomic(at('x'.repeat(300)), bytes('x'))).rejects.toThrow('too long');
  expect(readdirSync(at()).sort()).toEqual(['file', 'folder']);
});

test('removes what a killed process left of the same file', async () => {
  // No system gives out process ids as large as this.
  const stale = at('.a.bin.2147483647-0.tmp');
  const fresh = at('.a.bin.2147483647-1.tmp');
  const ours = at(`.a.bin.${process.pid}-99999.tmp`);
  const foreign = at('.b.bin.2147483647-0.tmp');
  const hourAgo = Date.now() / 1000 - 3600;
  for (const file of [stale, fresh, ours, foreign]) writeFileSync(file, 'x');
  for (const file of [stale, ours, foreign]) utimesSync(file, hourAgo, hourAgo);
  await writeFileAtomic(at('a.bin'), bytes('new'));
  expect(
    readdirSync(at())
      .map((name) => at(name))
      .sort(),
  ).toEqual([fresh, ours, foreign, at('a.bin')].sort());
});
