/** @file Which executor `device` comes down to, and why. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { chooseExecutor } from '../../src/cli/create-executor.ts';
import { deviceSection } from '../../src/config/device-section.ts';
import { libraryFile } from '../../src/runtime/torch/find-libtorch.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';

const inFolder = temporaryFolder();

const choose = (device: Record<string, unknown>) =>
  chooseExecutor({ device: deviceSection.parse(device), webui: null });

test('auto without a libtorch is ONNX Runtime', async () => {
  const { executor, why } = await choose({ libtorch: '/no/such/folder' });
  expect(executor).toBe('onnx');
  expect(why).toMatch(/^device\.libtorch: there is no .*torch_cpu.* in or below/);
});

test('auto does not even load a libtorch that has no part for GPUs', async () => {
  const folder = inFolder('lib');
  mkdirSync(folder);
  writeFileSync(inFolder('lib', libraryFile('torch_cpu')), 'no library');
  const { executor, why } = await choose({ libtorch: folder });
  expect([executor, why]).toEqual(
    process.platform === 'darwin'
      ? ['onnx', expect.stringContaining('cannot be loaded')]
      : ['onnx', 'libtorch has no part for GPUs'],
  );
});

test.each([
  [{ executor: 'reference' }, 'reference', 'device.executor is reference'],
  [{ executor: 'torch' }, 'torch', 'device.executor is torch'],
  [{ provider: 'webgpu' }, 'onnx', 'device.provider is webgpu'],
  [{ torchDevice: 'cuda:1' }, 'torch', 'device.torchDevice is cuda:1'],
])('%j', async (device, executor, why) => {
  expect(await choose(device)).toEqual({ executor, why });
});
