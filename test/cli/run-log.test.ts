/** @file The log file of a run. */

import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { openRunLog } from '../../src/cli/run-log.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';

const at = temporaryFolder();

function lines(file: string): Record<string, unknown>[] {
  const text = readFileSync(file, 'utf8').trimEnd();
  return text.split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('every event is a line of JSON with its time; a later run adds its own', () => {
  const file = at('deep', 'log.jsonl');
  for (const step of [1, 2]) {
    const log = openRunLog({ file, level: 'info' });
    log.write('step', { step, loss: 0.5 });
    log.close();
  }
  const read = lines(file);
  expect(read.map(({ event, step, loss }) => [event, step, loss])).toEqual([
    ['step', 1, 0.5],
    ['step', 2, 0.5],
  ]);
  expect(read[0]!['time']).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
  expect(read[0]).not.toHaveProperty('hostname');
});

test('the level decides what is written', () => {
  const file = at('log.jsonl');
  const log = openRunLog({ file, level: 'warn' });
  log.write('step', { step: 1 });
  log.write('warning', { warning: 'small' });
  log.close();
  // The system gives the number of a closed file to the next one.
  const next = openRunLog({ file: at('next.jsonl'), level: 'warn' });
  log.write('warning', { warning: 'late' });
  log.close();
  next.write('warning', { warning: 'other' });
  next.close();
  expect(lines(at('next.jsonl'))).toMatchObject([{ warning: 'other' }]);
  expect(lines(file)).toMatchObject([{ event: 'warning', warning: 'small' }]);
  openRunLog({ file: at('none.jsonl'), level: 'silent' }).write('step', {});
  expect(existsSync(at('none.jsonl'))).toBe(false);
});

test('a file that cannot be written is the user’s matter', () => {
  mkdirSync(at('folder'));
  expect(() => openRunLog({ file: at('folder'), level: 'info' })).toThrow(/^cannot write .*folder/);
});
