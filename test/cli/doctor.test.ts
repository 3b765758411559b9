/** @file What `doctor` says of this machine, which can run the tests. */

import { expect, test, vi } from 'vitest';
import { diskFinding, machineFindings } from '../../src/cli/doctor/machine.ts';
import { torchMissing } from '../helpers/executors.ts';
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
  expect(out).toMatch(
    torchMissing === undefined
      ? /libtorch +\d+\.\d+.* in .*\n.*its devices .*cpu/
      : /note +libtorch .*install it with: /,
  );
  expect(out).toMatch(/TensorFlow\.js +4\.\d+\.\d+, .*wasm/);
  expect(out).toMatch(/sharp +\d+.*libvips \d+/);
  expect(out).toMatch(/tokenizer +CLIP, 49408 tokens/);
  expect(out).toMatch(/disk +.* free at .*models/);
  expect(out).toMatch(/onnx cpu +ONNX Runtime \d+\.\d+.*, f32/);
  if (torchMissing === undefined) expect(out).toMatch(/torch cpu +libtorch \d+\.\d+.*, f32/);
  expect(out).toMatch(
    /would train on +(ONNX Runtime, cpu|libtorch .*), one thread for each core; \w+/,
  );
  expect(out).not.toContain('GFLOP/s');
});

test.skipIf(torchMissing !== undefined)(
  'the processor is measured in bf16 too, which is advised where it is faster',
  async () => {
    const { code, out } = await run('doctor');
    expect(code).toBe(0);
    const rates = (line: string) => {
      const found = new RegExp(`${line}: matrix product ([\\d.]+), convolution ([\\d.]+)`).exec(
        out,
      );
      return [Number(found?.[1]), Number(found?.[2])] as const;
    };
    const plain = rates('torch cpu +libtorch \\S+, f32');
    const half = rates('torch cpu bf16 +libtorch \\S+, bf16');
    expect(Math.min(...plain, ...half)).toBeGreaterThan(0);
    const isFaster = half.every((rate, i) => rate > 1.3 * plain[i]!);
    const isSlower = half.some((rate, i) => rate < 1.2 * plain[i]!);
    const isAdvised = out.includes('device.precision: bf16');
    // What is between is rounded here.
    expect(isAdvised || !isFaster).toBe(true);
    expect(isAdvised && isSlower).toBe(false);
  },
);

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

test('a configuration that asks for libtorch is told what it gets, or what is missing', async () => {
  const { code, out } = await run(
    ...['doctor', '--no-speed', '--config', 'configs/character.yaml'],
    ...['--set', 'device.executor=torch', '--set', 'device.precision=bf16'],
    ...['--set', 'device.torchDevice=cpu'],
  );
  if (torchMissing === undefined) {
    expect(out).toMatch(/ok +would train on +libtorch \d+\.\d+.*, cpu, bf16/);
    expect(code).toBe(0);
  } else {
    expect(out).toMatch(/BAD +would train on +torch, which is not there: .*install it with/);
    expect(code).toBe(1);
  }
});
