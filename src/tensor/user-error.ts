/** @file The error for what a user can mend: it is shown as its message alone, without a stack. */

/** What was found, what was expected, where, and what to do about it. */
export class UserError extends Error {
  /** The process's exit status: 2 for a wrong command or configuration, 1 for everything else. */
  readonly exitCode: 1 | 2;

  constructor(message: string, exitCode: 1 | 2 = 1) {
    super(message);
    this.name = 'UserError';
    this.exitCode = exitCode;
  }
}
