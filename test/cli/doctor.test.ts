/** @file What `doctor` says of this machine, which can run the tests. */

import { expect, test, vi } from 'vitest';
import { diskFinding, machineFindings } from '../../src/cli/doctor/machine.ts';
import { run } from './recording-terminal.ts';

vi.setConfig({ testTimeout: 30_000 });

test('engine, libraries and what would be used', async () => {
  const { code, out, err } = await run(
    'doctor',
    '--no-speed',
    '--config',
    'configs/character.yaml',
  );
  expect([code, err]).toEqual([0, '']);
  expect(out).toContain(`Node.js         ${process.versions.node}`);
  expect(out).toMatch(/ONNX Runtime +\d+\.\d+/);
  expect(out).toMatch(/providers +cpu/);
  expect(out).toMatch(/sharp +\d+.*libvips \d+/);
  expect(out).toMatch(/tokenizer +CLIP, 49408 tokens/);
  expect(out).toMatch(/disk +.* free at .*models/);
  expect(out).toMatch(/would train on +ONNX Runtime, cpu/);
  expect(out).not.toContain('GFLOP/s');
});

test.each([
  ['20.18.3', 'bad'],
  ['20.19.0', 'good'],
  ['24.1.0', 'good'],
])('Node.js %s is %s', (version, verdict) => {
  expect(machineFindings(version)[0]).toMatchObject({ name: 'Node.js', verdict });
});

test('a folder that is not there yet lies on the disk of the nearest one that is', async () => {
  expect((await diskFinding('/no/such/folder')).text).toMatch(/ free at \/$/);
});
