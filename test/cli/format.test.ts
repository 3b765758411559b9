/** @file Numbers and tables as text. */

import { describe, expect, test } from 'vitest';
import { facts, formatTable, section } from '../../src/cli/format-table.ts';
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatNumber,
  formatShare,
  plural,
} from '../../src/cli/format-units.ts';

describe('numbers', () => {
  test.each([
    [0, '0 bytes'],
    [999, '999 bytes'],
    [1000, '1.0 kB'],
    [18_900_000, '18.9 MB'],
    [99_960_000, '100 MB'],
    [999_600_000, '1.0 GB'],
    [4_265_000_000, '4.3 GB'],
  ])('%d bytes are %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  test.each([
    [12, '12'],
    [1234, '1.23 k'],
    [859_520_964, '860 M'],
    [1_066_000_000, '1.07 G'],
  ])('%d values are %s', (count, text) => {
    expect(formatCount(count)).toBe(text);
  });

  test.each([
    [0, '0:00'],
    [59.6, '1:00'],
    [754, '12:34'],
    [3723, '1:02:03'],
    [100 * 3600, '100:00:00'],
    [-3, '0:00'],
  ])('%d seconds are %s', (seconds, text) => {
    expect(formatDuration(seconds)).toBe(text);
  });

  test('shares, singulars and three digits', () => {
    expect([0, 0.0312, 0.0994, 0.126, 1].map(formatShare)).toEqual([
      '0 %',
      '3.1 %',
      '9.9 %',
      '13 %',
      '100 %',
    ]);
    expect([plural(1, 'image'), plural(2, 'batch', 'batches')]).toEqual(['1 image', '2 batches']);
    expect([0.0001, 1.23456, 5e-8].map(formatNumber)).toEqual(['0.0001', '1.23', '5e-8']);
  });
});

describe('tables', () => {
  test('columns are aligned, those of numbers to the right', () => {
    const rows = [
      ['a.png', '9', 'short'],
      ['longer.png', '120', ''],
    ];
    expect(formatTable(rows, ['image', 'tokens', 'note'])).toBe(
      ['image       tokens  note', 'a.png            9  short', 'longer.png     120'].join('\n'),
    );
  });

  test('names stand in front of values, and further lines below them', () => {
    const text = facts([['kind', 'LoRA'], null, ['folders', 'one\ntwo']]);
    expect(section('File', [text])).toBe(
      ['File', '  kind     LoRA', '  folders  one', '           two'].join('\n'),
    );
  });
});
