/** @file The tables of docs/configuration.md: every key, and kohya's names. */

import { allKeys, keysOf, type NamedKey } from './config-json-schema.ts';
import { describeExpected } from './describe-value.ts';
import { kohyaNames } from './kohya-names.ts';

const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');

const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;

function keyRow({ path, schema }: NamedKey): string {
  const given = schema.default;
  const value =
    given === undefined ? 'required' : given === null ? '' : `\`${JSON.stringify(given)}\``;
  return row([
    `\`${path}\``,
    cell(describeExpected(schema)),
    cell(value),
    cell(schema.description ?? ''),
  ]);
}

const isSection = ({ schema }: NamedKey) => Object.keys(keysOf(schema)).length > 0 && !schema.anyOf;

/** A Markdown table of all keys for each section. */
export function keyTables(): string {
  const head = [row(['Key', 'Value', 'Default', 'Meaning']), row(['---', '---', '---', '---'])];
  const keys = allKeys();
  const top = keys.filter((key) => !key.path.includes('.') && !isSection(key));
  const sections = keys.filter((key) => !key.path.includes('.') && isSection(key));
  return [
    ['### At the top', '', ...head, ...top.map(keyRow)],
    ...sections.map((section) => [
      `### ${section.path}`,
      '',
      section.schema.description ?? '',
      '',
      ...head,
      ...keys
        .filter((key) => key.path.startsWith(`${section.path}.`) && !isSection(key))
        .map(keyRow),
    ]),
  ]
    .map((lines) => lines.join('\n'))
    .join('\n\n');
}

/** A Markdown table of kohya's options and ours. */
export function kohyaTable(): string {
  return [
    row(["kohya's option", 'here', 'note']),
    row(['---', '---', '---']),
    ...kohyaNames.map(({ option, key, note }) =>
      row([`\`${option}\``, key ? `\`${key}\`` : 'none', note ?? '']),
    ),
  ].join('\n');
}
