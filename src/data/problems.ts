/** @file Problems of a data set: gathered while it is read, then shown together. */

import { UserError } from '../tensor/user-error.ts';

/** How many problems one error shows; the rest are counted. */
const shownProblems = 20;

/** Throws one UserError with the first problems, one line each; does nothing when there are none. */
export function throwProblems(problems: readonly string[], limit = shownProblems): void {
  const [first, ...others] = problems;
  if (first === undefined) return;
  if (others.length === 0) throw new UserError(first);
  const shown = problems.slice(0, limit).map((problem) => `  ${problem}`);
  const rest = problems.length - shown.length;
  if (rest > 0) shown.push(`  … and ${rest} more`);
  throw new UserError(`the data set has ${problems.length} problems:\n${shown.join('\n')}`);
}

/** The message of a UserError; anything else is thrown on. */
export function problemOf(error: unknown): string {
  if (error instanceof UserError) return error.message;
  throw error;
}

/** `3 images`, `1 image`. */
export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}

/** The first few of a list of names, and how many more there are. */
export function someOf(names: readonly string[], limit = 5): string {
  const rest = names.length - limit;
  return names.slice(0, limit).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}
