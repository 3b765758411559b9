/** @file The progress line, on a screen and in a file. */

import { describe, expect, test } from 'vitest';
import { formatProgress, ProgressLine } from '../../src/cli/progress-line.ts';
import type { TrainProgress } from '../../src/train/train-options.ts';
import { recordingTerminal } from './recording-terminal.ts';

const step = (done: number, more: Partial<TrainProgress> = {}): TrainProgress => ({
  phase: 'train',
  done,
  total: 500,
  loss: 0.2,
  smoothedLoss: 0.12345,
  learningRate: 1e-4,
  secondsPerStep: 1.234,
  ...more,
});

/** What a screen shows after all carriage returns. */
function screen(text: string): string[] {
  return text.split('\n').map((line) => {
    let shown = '';
    for (const part of line.split('\r')) shown = part + shown.slice(part.length);
    return shown.trimEnd();
  });
}

describe('the line', () => {
  test('shows bar, steps, pace, time left, loss and learning rate', () => {
    const line = formatProgress(step(120), 110);
    expect(line).toBe(
      'training  │█████▊                  │  120/500  24 %  1.23 s/it  ETA 7:49  loss 0.1235  lr 0.0001',
    );
  });

  test('is never wider than the screen, and drops its bar first', () => {
    for (let columns = 5; columns < 130; columns++) {
      expect([...formatProgress(step(120), columns)].length).toBeLessThanOrEqual(columns);
    }
    expect(formatProgress(step(120), 70)).not.toContain('│');
    expect(formatProgress(step(120), 70)).toContain('ETA 7:49');
  });

  test('shows fast steps by the second, and counts nothing where there is one thing', () => {
    expect(formatProgress(step(1, { secondsPerStep: 0.1 }))).toContain('10.00 it/s');
    expect(formatProgress({ phase: 'prepare', done: 0, total: 1, text: 'the base' })).toBe(
      'reading images  the base',
    );
    expect(formatProgress({ phase: 'save', done: 3, total: 9, text: '/x/a.safetensors' })).toBe(
      'saving  /x/a.safetensors',
    );
  });

  test('the bar is empty at the start and full at the end', () => {
    expect(formatProgress(step(0), 110)).toContain(`│${' '.repeat(24)}│`);
    expect(formatProgress(step(500), 110)).toContain(`│${'█'.repeat(24)}│`);
  });
});

describe('on a screen', () => {
  test('one line is drawn over, and stays when it is finished', () => {
    let now = 0;
    const terminal = recordingTerminal(120);
    const progress = new ProgressLine(terminal, () => now);
    for (let done = 0; done <= 3; done++) {
      progress.update({ phase: 'cache', done, total: 3 });
      now += 1000;
    }
    progress.update(step(1));
    now += 1000;
    progress.update(step(2));
    progress.end();
    const lines = screen(terminal.err());
    expect(lines).toHaveLength(3);
    expect(lines[0]).toContain('encoding images');
    expect(lines[0]).toContain('3/3  100 %');
    expect(lines[1]).toContain('  2/500');
    expect(lines[2]).toBe('');
  });

  test('it is drawn at most ten times a second, and the last state is not lost', () => {
    const terminal = recordingTerminal(120);
    const progress = new ProgressLine(terminal, () => 0);
    for (let done = 1; done <= 100; done++) progress.update(step(done));
    expect(terminal.err().split('\r')).toHaveLength(2);
    progress.end();
    expect(screen(terminal.err())[0]).toContain('100/500');
  });

  test('a shorter line leaves nothing of a longer one', () => {
    let now = 0;
    const terminal = recordingTerminal(120);
    const progress = new ProgressLine(terminal, () => now);
    progress.update(step(7));
    now += 1000;
    progress.update({ phase: 'compile', done: 7, total: 500, text: '1 × 64×64' });
    progress.end();
    expect(screen(terminal.err())).toEqual(['compiling  1 × 64×64', '']);
  });

  test('a message stands above the line', () => {
    const terminal = recordingTerminal(120);
    const progress = new ProgressLine(terminal, () => 0);
    progress.update(step(7));
    progress.note('warning: small');
    progress.end();
    const lines = screen(terminal.err());
    expect(lines[0]).toBe('warning: small');
    expect(lines[1]).toContain('7/500');
  });
});

describe('in a file', () => {
  test('there is a line every ten seconds, the first and the last step, and no control characters', () => {
    let now = 0;
    const terminal = recordingTerminal();
    const progress = new ProgressLine(terminal, () => now);
    progress.update({ phase: 'prepare', done: 0, total: 1 });
    for (let done = 1; done <= 500; done++) {
      now += 100;
      progress.update(step(done));
    }
    progress.end();
    const steps = [...terminal.err().matchAll(/training\s+(\d+)\/500/g)].map((match) => match[1]);
    expect(steps).toEqual(['1', '101', '201', '301', '401', '500']);
    expect(terminal.err().replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
  });
});

test('the time of a step is evened out: a slow one does not change it', () => {
  let now = 0;
  const terminal = recordingTerminal();
  const progress = new ProgressLine(terminal, () => now);
  for (const [i, seconds] of [1, 1, 3, 1, 90].entries()) {
    now += 20_000;
    progress.update(step(i + 1, { secondsPerStep: seconds }));
  }
  const last = terminal.err().trimEnd().split('\n').at(-1);
  expect(last).toContain('1.50 s/it');
});
