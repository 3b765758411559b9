/** @file A terminal that keeps what a command writes. */

import { runCli } from '../../src/cli/run-cli.ts';
import type { Terminal } from '../../src/cli/terminal.ts';

export interface RecordingTerminal extends Terminal {
  /** Everything on stdout. */
  readonly out: () => string;
  /** Everything on stderr. */
  readonly err: () => string;
}

/** @param columns width of a screen, or null for a file */
export function recordingTerminal(columns: number | null = null): RecordingTerminal {
  let out = '';
  let err = '';
  return {
    print: (text) => {
      out += `${text}\n`;
    },
    complain: (text) => {
      err += `${text}\n`;
    },
    draw: (text) => {
      err += text;
    },
    liveColumns: () => columns,
    out: () => out,
    err: () => err,
  };
}

/** Runs a command line in this process. */
export async function run(...argv: string[]) {
  const terminal = recordingTerminal();
  const code = await runCli(argv, terminal);
  return { code, out: terminal.out(), err: terminal.err() };
}
