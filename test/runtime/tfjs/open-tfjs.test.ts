/** @file Finding and loading TensorFlow.js. */

import { expect, test } from 'vitest';
import { backendText, installedEngines, openTfjs } from '../../../src/runtime/tfjs/open-tfjs.ts';

/** Those that users may have, and this package's own installation has not. */
const missing = (['node-gpu', 'node'] as const).filter(
  (engine) => !installedEngines().includes(engine),
);

test('what comes with the development dependencies is found', async () => {
  expect(installedEngines()).toEqual(expect.arrayContaining(['wasm', 'cpu']));
  const backend = await openTfjs('wasm');
  expect(backendText(backend)).toMatch(/^4\.\d+\.\d+, wasm, one thread$/);
  expect(await openTfjs('wasm')).toBe(backend);
  if (missing.length === 2) expect(await openTfjs()).toBe(backend);
});

test.skipIf(missing.length < 2)('what is not installed is named, with the command', async () => {
  await expect(openTfjs('node-gpu')).rejects.toThrow(
    'TensorFlow.js (node-gpu) is not installed; install it with: npm install @tensorflow/tfjs-node-gpu',
  );
});

test('it does not end the process at errors that nobody catches', async () => {
  const count = () =>
    process.listenerCount('uncaughtException') + process.listenerCount('unhandledRejection');
  const before = count();
  await openTfjs('wasm');
  expect(count()).toBe(before);
});
