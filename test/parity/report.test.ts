/** @file The report counts what is beyond its bound, whatever way it is wrong. */

import { expect, test } from 'vitest';
import { Report, vector } from '../../scripts/parity/report.ts';

function reported() {
  const lines: string[] = [];
  const report = new Report({ print: (line) => lines.push(line), verbose: false });
  report.start('place');
  return { report, lines };
}

test('errors are measured against the largest golden value', () => {
  const { report, lines } = reported();
  report.compare('near', vector([100, 0.001]), vector([100, 0]), { relative: 2e-5 });
  report.compare('far', vector([100, 0.003]), vector([100, 0]), { relative: 2e-5 });
  expect(report.passed).toBe(1);
  expect(report.failures).toEqual(['place far']);
  expect(lines.at(-2)).toMatch(/^FAIL far +3\.00e-3 +3\.00e-5 +2\.00e-3$/);
  expect(lines.at(-1)).toContain('largest at 1 of 2: 0.003, golden 0');
});

test('an absolute bound holds where the golden values are 0', () => {
  const { report } = reported();
  report.compare('near', vector([1e-9]), vector([0]), { absolute: 1e-8 });
  report.compare('far', vector([1e-7]), vector([0]), { absolute: 1e-8 });
  expect(report.failures).toEqual(['place far']);
});

test('NaN, infinity and other shapes fail', () => {
  const { report } = reported();
  const bound = { relative: 1 };
  report.compare('nan', vector([Number.NaN, 1]), vector([1, 1]), bound);
  report.compare('nan after an error', vector([1.1, Number.NaN]), vector([1, 1]), bound);
  report.compare('infinity', vector([Number.POSITIVE_INFINITY]), vector([1]), bound);
  report.compare('shape', { shape: [2, 1], data: [1, 1] }, vector([1, 1]), bound);
  expect(report.passed).toBe(0);
  expect(report.failures).toHaveLength(4);
});
