/** @file The smallest configuration, and what loading says of a text. */

import { expect } from 'vitest';
import { type LoadedConfig, loadConfig } from '../../src/config/load-config.ts';
import { UserError } from '../../src/tensor/user-error.ts';

/** Its line numbers are used in tests. */
export const minimal = `base: model.safetensors
output:
  name: zibbo
data:
  folders:
    - path: images
train:
  steps: 100
`;

/** Loads a text as `run.yaml`, in the folder `/home/me`. */
export function load(text: string, ...overrides: string[]): LoadedConfig {
  return loadConfig({ path: 'run.yaml', text, overrides, cwd: '/home/me' });
}

/** The lines of the refusal of what `action` loads. */
export function refusal(action: () => unknown): readonly string[] {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    expect((error as UserError).exitCode).toBe(2);
    return (error as UserError).message.split('\n');
  }
  throw new Error('it was not refused');
}

/** The lines of the refusal of a text. */
export function complaints(text: string, ...overrides: string[]): readonly string[] {
  return refusal(() => load(text, ...overrides));
}

/** The refusal of the minimal configuration with overrides, without the place. */
export function contradiction(...overrides: string[]): string {
  const lines = complaints(minimal, ...overrides);
  expect(lines).toHaveLength(1);
  return lines[0]!;
}
