/** @file Runs damaged cases: each ends well or with a `UserError`, in time and in little memory. */

import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, expect } from 'vitest';
import { UserError } from '../../src/tensor/user-error.ts';

/** Of one case; the slowest takes half a second, and much longer beside a program that takes all cores. */
const mostSeconds = 60;
/** Of the whole process, in bytes; the tests themselves take about 300 MB. */
const mostMemory = 1.5e9;

/**
 * A thread that ends this process where a case hangs or fills the memory: a loop that never returns
 * can't be ended from the inside. It says which case it was.
 */
const watch = `
  const { parentPort } = require('node:worker_threads');
  let current = 'nothing yet';
  let since = Date.now();
  parentPort.on('message', (name) => { current = name; since = Date.now(); });
  setInterval(() => {
    const seconds = (Date.now() - since) / 1000;
    const { rss } = process.memoryUsage();
    if (seconds < ${mostSeconds} && rss < ${mostMemory}) return;
    require('node:fs').writeSync(2, 'fuzz: ' + current + ' takes ' + seconds + ' s and ' + rss + ' bytes\\n');
    process.kill(process.pid, 'SIGKILL');
  }, 250);
`;

let guard: Worker | undefined;

/** Call once at the top of a fuzz test's file. */
export function guardCases(): void {
  beforeAll(() => {
    guard = new Worker(watch, { eval: true });
    guard.unref();
  });
  afterAll(async () => {
    await guard?.terminate();
  });
}

/** How many cases ended in which way. */
export interface Outcomes {
  read: number;
  refused: number;
  /** The messages without what differs from case to case. */
  readonly reasons: Set<string>;
}

/** The message is one readable line, or one for each mistake of a configuration. */
function expectReadable(message: string, name: string): void {
  if (message.length === 0 || message.length > 4000 || /internal:/.test(message)) {
    expect.fail(`${name}: ${message.slice(0, 4000)}`);
  }
  if (/[^\P{Cc}\n]/u.test(message)) expect.fail(`${name}: ${JSON.stringify(message)}`);
}

/**
 * Runs `attempt` for each case.
 * @param name of the test, for messages
 */
export async function runCases(
  name: string,
  count: number,
  attempt: (index: number) => unknown,
): Promise<Outcomes> {
  const outcomes: Outcomes = { read: 0, refused: 0, reasons: new Set() };
  for (let i = 0; i < count; i++) {
    const label = `${name}, case ${i}`;
    guard?.postMessage(label);
    try {
      await attempt(i);
      outcomes.read++;
    } catch (error) {
      if (!(error instanceof UserError)) throw new Error(label, { cause: error });
      expectReadable(error.message, label);
      outcomes.refused++;
      outcomes.reasons.add(error.message.replaceAll(/"[^"]*"|\/\S+|\d+/g, ''));
    }
  }
  return outcomes;
}
