/** @file Ctrl-C once and twice. */

import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { listenForStop } from '../../src/cli/stop-signal.ts';

function setUp() {
  const source = Object.assign(new EventEmitter(), {
    codes: [] as number[],
    exit(code: number) {
      this.codes.push(code);
    },
  });
  const clock = { now: 0 };
  let told = 0;
  const stop = listenForStop(
    () => told++,
    source,
    () => clock.now,
  );
  return { source, clock, stop, told: () => told };
}

test('the first asks to stop, the second ends the program', () => {
  const { source, clock, stop, told } = setUp();
  expect(stop.requested()).toBe(false);
  source.emit('SIGINT');
  expect([stop.requested(), stop.exitCode(), told(), source.codes]).toEqual([true, 130, 1, []]);
  clock.now = 2000;
  source.emit('SIGINT');
  expect([told(), source.codes]).toEqual([1, [130]]);
});

test('npm repeats a Ctrl-C at once: that is the same one', () => {
  const { source, clock, stop } = setUp();
  source.emit('SIGINT');
  clock.now = 50;
  source.emit('SIGINT');
  expect([stop.requested(), source.codes]).toEqual([true, []]);
});

test('a service manager that ends the run gets its own status', () => {
  const { source, stop } = setUp();
  source.emit('SIGTERM');
  expect([stop.requested(), stop.exitCode()]).toEqual([true, 143]);
});

test('after the run signals are the system’s again', () => {
  const { source, stop } = setUp();
  stop.release();
  expect(source.eventNames()).toEqual([]);
});
