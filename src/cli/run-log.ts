/** @file The log of a run: one JSON object a line, appended to a file, by pino. */

import { appendFileSync, closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Level, pino } from 'pino';
import type { UnsizedConfig } from '../config/resolve-config.ts';
import { fileError } from '../weights/file-error.ts';

/** Where the events of a run go. */
export interface RunLog {
  /** An event with its facts; `level` is `info` unless the event is a warning or an error. */
  write(event: string, fields: Readonly<Record<string, unknown>>): void;
  /** Closes the file; what is written afterwards is lost. */
  close(): void;
}

/** Events that tell more, or of more importance, than the usual ones. */
const levels: Readonly<Record<string, Level>> = {
  warning: 'warn',
  error: 'error',
  debug: 'debug',
  trace: 'trace',
};

/**
 * Opens the log of `config.log`; an earlier run's lines stay. Nothing is written where the level is `silent`.
 * @throws UserError where the file cannot be written
 */
export function openRunLog({ file, level }: UnsizedConfig['log']): RunLog {
  if (level === 'silent') return { write: () => {}, close: () => {} };
  let fd: number;
  try {
    mkdirSync(dirname(file), { recursive: true });
    fd = openSync(file, 'a');
  } catch (error) {
    throw fileError(error, 'write', file);
  }
  const destination = {
    // At once, so that a run that is killed leaves all of its lines.
    write: (line: string) => {
      try {
        appendFileSync(fd, line);
      } catch {
        // A full disk must not end a run by way of its log; saving the adapter will say so.
      }
    },
  };
  const logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
  let isOpen = true;
  return {
    write: (event, fields) => {
      if (isOpen) logger[levels[event] ?? 'info']({ event, ...fields });
    },
    close: () => {
      if (!isOpen) return;
      isOpen = false;
      try {
        closeSync(fd);
      } catch {
        // Some disks say only now that they are full.
      }
    },
  };
}
