/** @file When a form hides an adapter's alphas, and how far readers are off then. */

import { expect, test } from 'vitest';
import { scaleNotice } from '../../src/export/scale-notice.ts';

const half = { rank: 16, alpha: 8 };
const conv = { rank: 4, alpha: 1 };
const full = { rank: 16, alpha: 16 };

test.each([
  [[half, half], 'kohya', null],
  [[full, full], 'peft', null],
  [[half, half], 'peft', /^alpha is not the rank, and the form peft .* at 2 times their strength$/],
  [[half, conv], 'diffusers', /the form diffusers .* at 2 to 4 times/],
  [[full, full, conv], 'peft', /^alpha is not the rank in 1 of its layers, .* at 4 times/],
  [[{ rank: 3, alpha: 7 }], 'peft', /at 0\.429 times/],
] as const)('%j as %s', (layers, format, expected) => {
  const notice = scaleNotice(layers, format);
  if (expected === null) expect(notice).toBeNull();
  else expect(notice).toMatch(expected);
});
