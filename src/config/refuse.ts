/** @file The refusal of a configuration: a line for each mistake, fit for a terminal. */

import { UserError } from '../tensor/user-error.ts';

/** Mistakes that are listed. */
const mostLines = 20;
/** A value may be as long as the file. */
const mostCharacters = 600;

/** A file's text is anybody's: it must not move the cursor, change colours or fill the screen. */
function plainLine(line: string): string {
  const plain = line.replace(/[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/gu, '?');
  return plain.length > mostCharacters ? `${plain.slice(0, mostCharacters)}…` : plain;
}

/**
 * @param most lines to list; how many more there are is said
 * @returns an error with exit code 2
 */
export function refusal(lines: readonly string[], most = mostLines): UserError {
  const shown = lines.slice(0, most).map(plainLine);
  if (lines.length > most) shown.push(`and ${lines.length - most} more`);
  return new UserError(shown.join('\n'), 2);
}
