/** @file Plain text in columns. */

/** Visible width; East Asian letters and emoji count as one, which shifts a column and nothing else. */
const width = (text: string) => [...text].length;

const isNumber = (text: string) => /^[-+]?[\d.,]+( %| [kMGT]?B| [kMG])?$/.test(text);

/**
 * Rows in aligned columns, two spaces apart; columns of numbers are flush right.
 * @param head names of the columns, above the rows
 */
export function formatTable(
  rows: readonly (readonly string[])[],
  head?: readonly string[],
): string {
  const all = head ? [head, ...rows] : rows;
  const columns = Math.max(0, ...all.map((row) => row.length));
  const layout = Array.from({ length: columns }, (_, i) => ({
    width: Math.max(...all.map((row) => width(row[i] ?? ''))),
    right: rows.length > 0 && rows.every((row) => isNumber(row[i] ?? '') || !row[i]),
  }));
  return all
    .map((row) =>
      layout
        .map((column, i) => {
          const text = row[i] ?? '';
          const space = ' '.repeat(column.width - width(text));
          return column.right ? space + text : text + space;
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** A heading and its lines, indented below it. */
export function section(title: string, lines: readonly string[]): string {
  const inner = lines.flatMap((line) => line.split('\n')).map((line) => (line ? `  ${line}` : ''));
  return [title, ...inner].join('\n');
}

/** Names in front of values, aligned: what a thing is. */
export function facts(entries: readonly (readonly [string, string] | null)[]): string {
  const shown = entries.filter((entry) => entry !== null);
  const widest = Math.max(0, ...shown.map(([name]) => width(name)));
  return shown
    .map(([name, value]) => {
      const [first = '', ...more] = value.split('\n');
      const indent = ' '.repeat(widest + 2);
      return [name.padEnd(widest + 2) + first, ...more.map((line) => indent + line)].join('\n');
    })
    .join('\n');
}
