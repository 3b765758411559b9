/** @file Spelling of Python's str(), repr() and json.dumps(); the expected texts are Python's own. */

import { expect, test } from 'vitest';
import { PyFloat, pyFloat, pyJson, pyStr } from '../../src/export/python-text.ts';

test.each([
  [0, '0.0'],
  [-0, '-0.0'],
  [1, '1.0'],
  [16, '16.0'],
  [0.1, '0.1'],
  [0.0001, '0.0001'],
  [0.00012, '0.00012'],
  [0.00001, '1e-05'],
  [5e-5, '5e-05'],
  [1.5e-7, '1.5e-07'],
  [-2.5e-10, '-2.5e-10'],
  [1e-100, '1e-100'],
  [123456.789, '123456.789'],
  [1722500000.1234567, '1722500000.1234567'],
  [1e15, '1000000000000000.0'],
  [1e16, '1e+16'],
  [1.25e22, '1.25e+22'],
  [0.1 + 0.2, '0.30000000000000004'],
  [Number.NaN, 'nan'],
  [Number.NEGATIVE_INFINITY, '-inf'],
])('repr(%f) is %s', (value, text) => {
  expect(pyFloat(value)).toBe(text);
});

test('str()', () => {
  expect([true, false, null, 7, new PyFloat(7), 'a b'].map(pyStr)).toEqual([
    'True',
    'False',
    'None',
    '7',
    '7.0',
    'a b',
  ]);
});

test('json.dumps()', () => {
  const value = {
    '10_x': new Map([
      ['2', 1],
      ['1girl', 20],
    ]),
    list: [1, new PyFloat(0), true, null, []],
    empty: {},
    text: 'a "b"\\\n\t\u0001\u007f é日\u{1f600}/',
  };
  expect(pyJson(value)).toBe(
    '{"10_x": {"2": 1, "1girl": 20}, "list": [1, 0.0, true, null, []], "empty": {}, ' +
      '"text": "a \\"b\\"\\\\\\n\\t\\u0001\\u007f \\u00e9\\u65e5\\ud83d\\ude00/"}',
  );
});
