/** @file What the pages in docs/ and CONTRIBUTING.md say of the source is so. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { vjpRules } from '../src/graph/autodiff/vjp-rules.ts';

const root = resolve(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');

/** The cells of the table between two marks of docs/architecture.md, without its head. */
function table(mark: string): string[][] {
  const [, part = ''] = new RegExp(`<!-- ${mark}:[^>]*-->([\\s\\S]*?)<!-- end of ${mark} -->`).exec(
    read('docs/architecture.md'),
  )!;
  const rows = part.split('\n').filter((line) => line.startsWith('|'));
  return rows.slice(2).map((row) => row.split('|').slice(1, -1));
}

const codeIn = (text = '') => Array.from(text.matchAll(/`([^`]+)`/g), ([, code]) => code!);

test('every operation is in the table of operations, once', () => {
  const listed = table('operations').flatMap(([, kinds]) => codeIn(kinds));
  expect(listed.toSorted()).toEqual(Object.keys(vjpRules).toSorted());
});

test('the table of folders is that of test/architecture.test.ts', () => {
  const [, held = ''] = /const mayImport[^{]*\{([\s\S]*?)\n\};/.exec(
    read('test/architecture.test.ts'),
  )!;
  const rows = Array.from(held.matchAll(/^ {2}(\w+): \[([^\]]*)\]/gm), ([, folder, list]) => [
    folder,
    Array.from(list!.matchAll(/'([^']+)'/g), ([, name]) => name),
  ]);
  const described = table('folders').map(([folder, , allowed]) => [
    codeIn(folder)[0],
    allowed!.trim() === 'everything' ? ['*'] : codeIn(allowed),
  ]);
  expect(rows.length).toBeGreaterThan(10);
  expect(described).toEqual(rows);
  const folders = readdirSync(join(root, 'src'), { withFileTypes: true });
  expect(described.map(([folder]) => folder)).toEqual(
    expect.arrayContaining(folders.filter((entry) => entry.isDirectory()).map(({ name }) => name)),
  );
});

const pages = [
  'CONTRIBUTING.md',
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

describe.each(pages)('%s', (page) => {
  const text = read(page).replaceAll(/```[\s\S]*?```/g, '');

  test('names files that are there', () => {
    const paths = codeIn(text).filter((code) =>
      /^(src|test|scripts|bench|docs|configs)\/[\w./-]*$/.test(code),
    );
    expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  test('links to files that are there', () => {
    const links = Array.from(text.matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g), ([, to]) => to!);
    const missing = links.filter((to) => !existsSync(resolve(root, page, '..', to)));
    expect(missing).toEqual([]);
  });
});
