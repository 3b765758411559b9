/**
 * @file The editors' schema and the tables of docs/configuration.md are those of the code.
 * `npx vitest run --project unit test/config -u` writes them.
 */

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { allKeys, configJsonSchema } from '../../src/config/config-json-schema.ts';
import { keyTables, kohyaTable } from '../../src/config/config-reference.ts';

const root = resolve(import.meta.dirname, '../..');

test('configs/schema.json', async () => {
  const text = `${JSON.stringify(configJsonSchema, null, 2)}\n`;
  await expect(text).toMatchFileSnapshot(resolve(root, 'configs/schema.json'));
});

/** Puts `content` between the marks of a part of the page. */
function fill(page: string, part: string, content: string): string {
  const marks = new RegExp(`(<!-- ${part}: [^\\n]*-->)[^]*(<!-- end of ${part} -->)`);
  expect(page).toMatch(marks);
  return page.replace(marks, (_, start, end) => `${start}\n\n${content}\n\n${end}`);
}

test('docs/configuration.md', async () => {
  const path = resolve(root, 'docs/configuration.md');
  const page = readFileSync(path, 'utf8');
  const filled = fill(fill(page, 'keys', keyTables()), 'kohya', kohyaTable());
  await expect(filled).toMatchFileSnapshot(path);
});

test('every key is explained', () => {
  expect(allKeys().filter((key) => !key.schema.description)).toEqual([]);
});
