/** @file Ctrl-C: the first asks the run to finish its step and save, the second ends it at once. */

import { constants } from 'node:os';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

type StopName = (typeof signals)[number];

/**
 * npm and npx pass a Ctrl-C on to a program that has had it from the terminal already, so that two
 * within this time are one.
 */
const sameStrokeMs = 800;

/** The exit status by which shells know that a signal ended a program. */
const statusOf = (signal: StopName) => 128 + constants.signals[signal];

/** Listens for signals while a run is on. */
export interface StopSignal {
  /** Whether the run is to stop. */
  requested(): boolean;
  /** Exit status after the stop; 130 for Ctrl-C. */
  exitCode(): number;
  /** Gives the signals back to the system. */
  release(): void;
}

/** What it needs of the process; tests hand in another. */
export interface SignalSource {
  on(signal: StopName, listener: () => void): unknown;
  off(signal: StopName, listener: () => void): unknown;
  exit(code: number): void;
}

/** @param onFirst told once, when the run is asked to stop */
export function listenForStop(
  onFirst: () => void,
  source: SignalSource = process,
  now: () => number = () => performance.now(),
): StopSignal {
  let first: StopName | undefined;
  let firstAt = 0;
  const listeners = signals.map((signal) => {
    const listener = () => {
      if (first === undefined) {
        first = signal;
        firstAt = now();
        onFirst();
      } else if (now() - firstAt > sameStrokeMs) {
        source.exit(statusOf(signal));
      }
    };
    source.on(signal, listener);
    return [signal, listener] as const;
  });
  return {
    requested: () => first !== undefined,
    exitCode: () => statusOf(first ?? 'SIGINT'),
    release: () => {
      for (const [signal, listener] of listeners) source.off(signal, listener);
    },
  };
}
