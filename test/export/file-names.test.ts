/** @file Names of adapter files. */

import { expect, test } from 'vitest';
import {
  checkOutputName,
  epochFileName,
  finalFileName,
  stepFileName,
} from '../../src/export/file-names.ts';
import { UserError } from '../../src/tensor/user-error.ts';

test('are those of kohya', () => {
  expect(finalFileName('a')).toBe('a.safetensors');
  expect(epochFileName('a', 2)).toBe('a-000002.safetensors');
  expect(stepFileName('a', 100)).toBe('a-step00000100.safetensors');
});

test.each(['my_lora', 'a b', 'Zoé-v1.2', '角色', 'nonesuch', 'a(1)'])(
  '%s may be a name',
  (name) => {
    expect(() => checkOutputName(name)).not.toThrow();
  },
);

test.each([
  ['', 'it is empty'],
  ['  ', 'it is empty'],
  ['a:b', '":" has a meaning in the prompt'],
  ['a<b', '"<"'],
  ['a>b', '">"'],
  ['a,b', '","'],
  ['a/b', 'not a path'],
  ['..\\b', 'not a path'],
  ['a?', 'Windows does not allow ?'],
  ['a\nb', 'control character'],
  ['.hidden', 'starts or ends'],
  ['{a}', 'starts or ends'],
  ['a.', 'starts or ends'],
  ['None', 'no LoRA at all'],
  ['CON', 'Windows keeps'],
  ['é'.repeat(91), 'more than 180 bytes'],
])('%j is refused', (name, reason) => {
  expect(() => checkOutputName(name)).toThrow(UserError);
  expect(() => checkOutputName(name)).toThrow(reason);
});
