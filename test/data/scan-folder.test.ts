/** @file Folders in every layout, and each mistake in them with its message. */

import { chmod, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { DatasetFolder } from '../../src/data/image-folders.ts';
import { scanDataset, scanFolders } from '../../src/data/scan-folder.ts';
import { UserError } from '../../src/tensor/user-error.ts';
import { temporaryFolder } from './pictures.ts';

/** Writes files by their paths within a new folder; the scan does not look into pictures. */
async function folderOf(files: Record<string, string | Buffer>): Promise<string> {
  const root = await temporaryFolder();
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), content);
  }
  return root;
}

const options = { captionExtensions: ['.txt', '.caption'], triggerWord: 'zxc' };

/** A scan of one folder, with paths from `root` on. */
async function scan(root: string, entry: Partial<DatasetFolder> = {}, inner = '') {
  const { samples, problems, warnings } = await scanFolders(
    [{ path: join(root, inner), ...entry }],
    options,
  );
  const short = (text: string) =>
    text
      .replaceAll(root + sep, '')
      .replaceAll(root, '.')
      .replaceAll(sep, '/');
  return {
    samples: samples.map((sample) => ({
      ...sample,
      path: short(sample.path),
      folder: short(sample.folder),
    })),
    problems: problems.map(short),
    warnings: warnings.map(short),
  };
}

describe('layouts', () => {
  test('a plain folder with repeats, in byte order', async () => {
    const root = await folderOf({
      'set/b.PNG': '',
      'set/b.txt': 'a b',
      'set/a10.jpg': '',
      'set/a10.caption': 'ten',
      'set/a9.webp': '',
      'set/a9.txt': 'nine',
      'set/Z.jpeg': '',
      'set/Z.TXT': 'zed',
      'set/é.tiff': '',
      'set/é.txt': 'e',
    });
    const { samples, problems, warnings } = await scan(root, { repeats: 3 }, 'set');
    expect({ problems, warnings }).toEqual({ problems: [], warnings: [] });
    expect(samples.map(({ path, caption }) => [path, caption])).toEqual([
      ['set/Z.jpeg', 'zed'],
      ['set/a10.jpg', 'ten'],
      ['set/a9.webp', 'nine'],
      ['set/b.PNG', 'a b'],
      ['set/é.tiff', 'e'],
    ]);
    expect(samples[3]).toEqual({
      path: 'set/b.PNG',
      folder: 'set',
      repeats: 3,
      prior: false,
      caption: 'a b',
      captionPath: join(root, 'set/b.txt'),
      triggerWord: 'zxc',
    });
  });

  test('an N_name folder, its parent, and a number of repeats that overrides the name', async () => {
    const root = await folderOf({
      '10_zxc cat/a.png': '',
      '10_zxc cat/a.txt': 'a',
      '2_b/b.png': '',
      '2_b/b.txt': 'b',
      'notes/readme.md': '',
    });
    const parent = await scan(root);
    expect(parent.problems).toEqual([]);
    expect(parent.samples.map(({ path, repeats }) => [path, repeats])).toEqual([
      ['10_zxc cat/a.png', 10],
      ['2_b/b.png', 2],
    ]);
    expect((await scan(root, {}, '10_zxc cat')).samples).toEqual(parent.samples.slice(0, 1));
    expect((await scan(root, { repeats: 4 }, '10_zxc cat')).samples[0]?.repeats).toBe(4);
    expect((await scan(root, { repeats: 4 })).problems).toEqual([
      '.: `repeats` is 4, but its sub-folders (10_zxc cat, 2_b) name their own; remove one or the other'.replace(
        './',
        '.',
      ),
    ]);
  });

  test('a folder of N_name folders whose own name is one', async () => {
    const root = await folderOf({ '1_sets/5_cat/a.png': '', '1_sets/5_cat/a.txt': 'a' });
    expect((await scan(root, {}, '1_sets')).samples).toMatchObject([
      { path: '1_sets/5_cat/a.png', repeats: 5 },
    ]);
  });

  test('links are followed, hidden files are not seen', async () => {
    const root = await folderOf({
      'real/a.png': '',
      'real/a.txt': 'a',
      'set/.hidden.png': '',
      'set/._a.png': '',
      '__MACOSX/a.png': '',
    });
    await symlink(join(root, 'real/a.png'), join(root, 'set/x.png'));
    await symlink(join(root, 'real/a.txt'), join(root, 'set/x.txt'));
    await symlink(join(root, 'set'), join(root, '3_linked'));
    expect(await scan(root, {}, '3_linked')).toMatchObject({
      samples: [{ path: '3_linked/x.png', caption: 'a', repeats: 3 }],
      problems: [],
      warnings: [],
    });
  });
});

describe('what holds for a whole folder', () => {
  test("the folder's caption stands in for caption files, and its trigger word for the data set's", async () => {
    const root = await folderOf({ 'a.png': '', 'b.png': '', 'b.txt': 'own' });
    const { samples, problems } = await scan(root, { caption: ' shared ', triggerWord: 'qqq' });
    expect(problems).toEqual([]);
    expect(samples).toMatchObject([
      { caption: 'shared', captionPath: null, triggerWord: 'qqq' },
      { caption: 'own', triggerWord: 'qqq' },
    ]);
  });

  test('prior folders have no trigger word, and may be captioned by their name', async () => {
    const root = await folderOf({
      'set/a.png': '',
      'set/a.txt': 'a',
      'reg/1_cat/p.png': '',
      'reg/1_cat/q.png': '',
    });
    const { samples, problems, warnings } = await scanFolders(
      [{ path: join(root, 'set') }, { path: join(root, 'reg'), prior: true }],
      options,
    );
    expect(problems).toEqual([]);
    expect(samples).toMatchObject([
      { prior: false, triggerWord: 'zxc' },
      { prior: true, triggerWord: null, caption: 'cat' },
      { prior: true, triggerWord: null, caption: 'cat' },
    ]);
    expect(warnings).toEqual([
      expect.stringMatching(/1_cat: 2 prior images without a caption file: .*"cat"/),
    ]);
    expect((await scan(root, { prior: true }, 'reg')).problems).toEqual([
      expect.stringMatching(/every folder .*prior/),
    ]);
  });
});

describe('captions', () => {
  test("of several files the first extension counts, and a name with the image's extension will do", async () => {
    const root = await folderOf({
      'a.png': '',
      'a.caption': 'second',
      'a.txt': 'first',
      'b.png': '',
      'b.png.txt': 'double',
    });
    const { samples, warnings } = await scan(root);
    expect(samples.map(({ caption }) => caption)).toEqual(['first', 'double']);
    expect(warnings).toEqual([
      '.: images with several caption files, of which the first extension counts: a.png',
    ]);
  });

  test('extensions may lack the dot', async () => {
    const root = await folderOf({ 'a.png': '', 'a.tags': 'x' });
    const { samples } = await scanFolders([{ path: root }], { captionExtensions: ['TAGS'] });
    expect(samples).toMatchObject([{ caption: 'x', triggerWord: null }]);
  });

  test('each mistake is a problem of its own, with its file', async () => {
    const root = await folderOf({
      'a.png': '',
      'b.png': '',
      'b.txt': ' \n',
      'c.png': '',
      'c.txt': Buffer.of(0x61, 0xe9),
      'd.png': '',
      'd.txt': 'fine',
    });
    const { samples, problems } = await scan(root);
    expect(samples).toMatchObject([{ path: 'd.png' }]);
    expect(problems).toEqual([
      'a.png: no caption; write one in a.txt beside it, or give the folder a `caption` in the configuration',
      expect.stringMatching(/^b\.txt: the caption file is empty/),
      expect.stringMatching(/^c\.txt: the caption is not UTF-8 text \(byte 1 is 0xe9/),
    ]);
  });
});

describe('mistakes', () => {
  test.each([
    ['no such folder', {}, 'none', /^none: no such folder/],
    ['a file', { 'set.png': '' }, 'set.png', /^set\.png: is a file/],
    ['nothing in it', { 'set/a.txt': 'a' }, 'set', /^set: no images in it; put/],
    [
      'formats that cannot be read',
      { 'set/a.gif': '', 'set/b.bmp': '' },
      'set',
      /^set: no images in it \(a\.gif, b\.bmp cannot be read/,
    ],
    [
      'images one level down',
      { 'set/cat/a.png': '' },
      'set',
      /^set: no images in it, only in its sub-folders \(cat\).*10_cat/,
    ],
    [
      'an empty N_name folder',
      { 'set/1_a/a.txt': 'a', 'set/2_b/b.png': '', 'set/2_b/b.txt': 'b' },
      'set',
      /^set\/1_a: no images/,
    ],
    [
      'zero repeats',
      { '0_a/a.png': '', '0_a/a.txt': 'a' },
      '0_a',
      /^0_a: its name asks for 0 repeats/,
    ],
  ] as const)('%s', async (_, files, inner, message) => {
    const { problems } = await scan(await folderOf(files), {}, inner);
    expect(problems).toEqual([expect.stringMatching(message)]);
  });

  test('a link to nothing', async () => {
    const root = await folderOf({ 'a.png': '', 'a.txt': 'a' });
    await symlink(join(root, 'gone.png'), join(root, 'b.png'));
    expect((await scan(root)).problems).toEqual([
      'b.png: a link to a file that is not there; mend or remove it',
    ]);
  });

  test.skipIf(process.getuid?.() === 0)('a folder without permission', async () => {
    const root = await folderOf({ 'set/a.png': '' });
    await chmod(join(root, 'set'), 0);
    expect((await scan(root, {}, 'set')).problems).toEqual([
      expect.stringMatching(/^set: the folder cannot be read/),
    ]);
    await chmod(join(root, 'set'), 0o700);
  });

  test('warnings: what is not read', async () => {
    const root = await folderOf({
      'a.png': '',
      'a.txt': 'a',
      'b.txt': 'no image',
      'c.gif': '',
      'more/d.png': '',
      'notes.md': '',
      'e.npz': '',
    });
    expect(await scan(root)).toMatchObject({
      problems: [],
      warnings: [
        '.: images in its sub-folders are not read: more',
        '.: formats that cannot be read are ignored (convert them to PNG): c.gif',
        '.: caption files without an image: b.txt',
      ],
    });
  });

  test('warnings: beside N_name folders, a year for a number, a folder named twice', async () => {
    const root = await folderOf({
      'x.png': '',
      'other/y.png': '',
      '1_a/a.png': '',
      '1_a/a.txt': 'a',
      '2024_b/b.png': '',
      '2024_b/b.txt': 'b',
    });
    const { warnings } = await scanFolders([{ path: root }, { path: join(root, '1_a') }], options);
    expect(warnings).toEqual([
      expect.stringMatching(/1 image beside its sub-folders 1_a, 2024_b are not read/),
      expect.stringMatching(/not named N_name are not read: other/),
      expect.stringMatching(/2024_b: its name is read as 2024 repeats/),
      expect.stringMatching(/1_a: named twice/),
    ]);
  });
});

describe('scanDataset', () => {
  test('throws one line for one problem, and the first of many', async () => {
    const one = await folderOf({ 'a.png': '' });
    const error = scanDataset([{ path: one }], options);
    await expect(error).rejects.toThrow(UserError);
    await expect(error).rejects.toThrow(/^\S+a\.png: no caption[^\n]*$/);
    const many = await folderOf(
      Object.fromEntries(Array.from({ length: 25 }, (_, i) => [`${i}.png`, ''])),
    );
    const message: string = await scanDataset([{ path: many }], options).catch((e) => e.message);
    expect(message).toMatch(/^the data set has 25 problems:\n/);
    expect(message.split('\n')).toHaveLength(22);
    expect(message).toMatch(/… and 5 more$/);
  });

  test('gives samples and warnings where all is well; no folder at all is a problem', async () => {
    const root = await folderOf({ 'a.png': '', 'a.txt': 'a', 'b.txt': 'b' });
    const { samples, warnings } = await scanDataset([{ path: root }], options);
    expect([samples.length, warnings.length]).toEqual([1, 1]);
    await expect(scanDataset([], options)).rejects.toThrow(/names no folder/);
    await rm(join(root, 'a.png'));
    await expect(scanDataset([{ path: root }], options)).rejects.toThrow(/no images/);
  });
});
