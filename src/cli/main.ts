#!/usr/bin/env node
/** @file The program `sdl-train`. */

import { reportError } from './report-error.ts';
import { runCli } from './run-cli.ts';
import { processTerminal } from './terminal.ts';

const argv = process.argv.slice(2);
const terminal = processTerminal();

function crash(error: unknown): void {
  const { text, exitCode } = reportError(error, { debug: argv.includes('--debug') });
  terminal.complain(text);
  process.exit(exitCode);
}
process.on('uncaughtException', crash);
process.on('unhandledRejection', crash);

process.exitCode = await runCli(argv, terminal);
