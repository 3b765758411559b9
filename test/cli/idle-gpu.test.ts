/** @file When a GPU that is not used is told of. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { idleGpu } from '../../src/cli/idle-gpu.ts';
import { deviceSection } from '../../src/config/device-section.ts';
import { libraryFile } from '../../src/runtime/torch/find-libtorch.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';

const at = temporaryFolder();

const driver = (capability: number, cuda: string) => ({
  version: null,
  cuda,
  gpus: [{ name: 'GeForce', memory: 8e9, capability }],
});

/** What is said on a machine with such a GPU and nothing but this libtorch. */
function said(
  device: Record<string, unknown>,
  { capability = 89, cuda = '13.0', version = '' } = {},
) {
  const lib = at('torch', 'lib');
  mkdirSync(lib, { recursive: true });
  writeFileSync(at('torch', 'lib', libraryFile('torch_cpu')), '');
  if (version) writeFileSync(at('torch', 'version.py'), `__version__ = '${version}'\n`);
  const config = { device: deviceSection.parse({ libtorch: lib, ...device }), webui: null };
  return idleGpu(config, async () => driver(capability, cuda));
}

test('one that waits for a libtorch, with the reason and the command', async () => {
  expect(await said({}, { version: '2.13.0+cpu' })).toMatch(
    /^GeForce is not used: libtorch 2\.13\.0\+cpu has no part for GPUs\. For a libtorch that can use it: .*install --force-reinstall "torch>=2\.10"/,
  );
  expect(await said({}, { version: '2.3.1+cu121' })).toMatch(
    /^GeForce is not used: found libtorch 2\.3\.1\+cu121 in .*; libtorch 2\.10 or newer is needed\. For/,
  );
  expect(await said({ libtorch: at('none') })).toContain(
    'is not used: device.libtorch: there is no',
  );
});

test.each([{ capability: 61 }, { cuda: '12.4' }])(
  '%j is too old for what pip has by itself',
  async (old) => {
    expect(await said({}, old)).toMatch(/whl\/cu126$/);
  },
);

test('not where libtorch is asked for and is not there, which is told elsewhere', async () => {
  expect(await said({ executor: 'torch', libtorch: at('none') })).toBeUndefined();
});

test.each([{ torchDevice: 'cpu' }, { provider: 'webgpu' }, { executor: 'onnx' }])(
  'not where %j asks for something else',
  async (device) => {
    expect(await said(device)).toBeUndefined();
  },
);

test('not where there is none', async () => {
  const config = { device: deviceSection.parse({}), webui: null };
  expect(await idleGpu(config, async () => undefined)).toBeUndefined();
});
