/** @file A side of a comparison waits for its turn, tells its figures or why it failed, and can be stopped. */

import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MeasuredProcess } from '../../bench/measured-process.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'measured-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** @param program of Node.js; `report` is the file to write */
function started(program: string, { turn = false, limit = 20 } = {}) {
  const report = join(folder, 'report.json');
  const file = join(folder, 'turn');
  const args = ['-e', `const report = ${JSON.stringify(report)}; ${program}`];
  const common = {
    command: process.execPath,
    args,
    env: process.env,
    report,
    gpu: undefined,
    limit,
  };
  return { running: new MeasuredProcess({ ...common, ...(turn ? { turn: file } : {}) }), file };
}

const writes = 'require("node:fs").writeFileSync(report, JSON.stringify({ peak_rss_gib: 1 }));';

test('the figures are those that it writes', async () => {
  expect(await started(writes).running.figures()).toEqual({ peak_rss_gib: 1 });
});

test('one that is ready waits until its figures are asked for', async () => {
  const waits = `
    const { existsSync, writeFileSync } = require("node:fs");
    const turn = process.env.PEER_TURN;
    writeFileSync(turn + ".ready", "");
    const timer = setInterval(() => {
      if (!existsSync(turn + ".go")) return;
      clearInterval(timer);
      ${writes}
    }, 10);`;
  const { running, file } = started(waits, { turn: true });
  await running.ready();
  expect(existsSync(`${file}.ready`)).toBe(true);
  expect(existsSync(join(folder, 'report.json'))).toBe(false);
  expect(await running.figures()).toEqual({ peak_rss_gib: 1 });
});

test('one that fails before its turn is not waited for, and says why', async () => {
  const { running } = started('throw new RangeError("no such size")', { turn: true });
  await expect(running.figures()).rejects.toThrow(/failed: .*RangeError: no such size/);
});

test('what takes too long is given up', async () => {
  const { running } = started('setInterval(() => {}, 1000)', { limit: 0.2 });
  await expect(running.figures()).rejects.toThrow('longer than --limit 0.2 s');
});
