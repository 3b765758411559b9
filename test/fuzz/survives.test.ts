/** @file The harness of the fuzz tests lets nothing pass but success and readable refusals. */

import { expect, test } from 'vitest';
import { UserError } from '../../src/tensor/user-error.ts';
import { runCases } from './survives.ts';

const fails = (error: unknown) =>
  expect(
    runCases('parser', 1, () => {
      throw error;
    }),
  ).rejects.toThrow('parser, case 0');

test('what is no UserError, or cannot be read, fails', async () => {
  await fails(new TypeError('x is undefined'));
  await fails(new Error('internal: a bug'));
  await fails(new UserError('internal: a bug'));
  await fails(new UserError(''));
  await fails(new UserError('moves the cursor\u001b[2J'));
  await fails(new UserError('x'.repeat(20_000)));
});

test('successes and refusals are counted', async () => {
  const { read, refused, reasons } = await runCases('parser', 10, (i) => {
    if (i % 3 === 0) throw new UserError(`/a/${i}: line ${i}`);
  });
  expect([read, refused, reasons.size]).toEqual([6, 4, 1]);
});
