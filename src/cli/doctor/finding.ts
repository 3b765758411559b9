/** @file One line of `doctor`: what was looked at, what was found, and whether it will do. */

/** `bad` keeps the program from training; `note` is worth knowing. */
export type Verdict = 'good' | 'note' | 'bad';

export interface Finding {
  readonly verdict: Verdict;
  readonly name: string;
  readonly text: string;
  /** What to do about it. */
  readonly advice?: string;
}

/** First line of any error. */
export function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split('\n')[0] ?? '';
}
