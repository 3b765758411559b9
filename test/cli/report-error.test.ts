/** @file What an error says, and its exit status. */

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { reportError } from '../../src/cli/report-error.ts';
import { UserError } from '../../src/tensor/user-error.ts';

const quiet = { debug: false };
const debug = { debug: true };

test('a user’s mistake is its message alone', () => {
  expect(reportError(new UserError('a.png: damaged'), quiet)).toEqual({
    text: 'a.png: damaged',
    exitCode: 1,
  });
  expect(reportError(new UserError('a.yaml:3: no', 2), quiet).exitCode).toBe(2);
  expect(reportError(new UserError('a.png: damaged'), debug).text).toMatch(
    /^a\.png: damaged\n.*at /s,
  );
});

test('our own bug says so once, on two lines, and has a stack with --debug', () => {
  const bug = new Error('internal: no rule\nmore');
  expect(reportError(bug, quiet).text).toBe(
    'internal: no rule\nthis is a bug of sdl-train; run the same command with --debug and report what it prints',
  );
  expect(reportError(bug, debug).text).toContain('report-error.test.ts');
  expect(reportError('a text', quiet).text).toMatch(/^internal: a text\n/);
});

test('errors of the file system are put into words', () => {
  let thrown: unknown;
  try {
    readFileSync('/nowhere/at/all');
  } catch (error) {
    thrown = error;
  }
  expect(reportError(thrown, quiet)).toEqual({
    text: 'cannot read /nowhere/at/all: no such file; check the path',
    exitCode: 1,
  });
  const full = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', syscall: 'write', path: '/a' });
  expect(reportError(full, quiet).text).toMatch(/^cannot write \/a: the disk is full/);
});

test.each(['std::bad_alloc', 'Array buffer allocation failed', 'Failed to allocate memory for x'])(
  'used-up memory (%s) says what to lower',
  (message) => {
    const { text, exitCode } = reportError(new Error(`internal: ONNX Runtime: ${message}`), quiet);
    expect(text).toMatch(
      /memory is used up .*device\.memory: auto, which plans.*train\.batchSize.*gradientCheckpointing/,
    );
    expect(exitCode).toBe(1);
  },
);
