/** @file Where NVIDIA's compiler is looked for; and, where there is one, that it takes every kernel. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { GraphBuilder } from '../../../../src/graph/graph-builder.ts';
import { findPointwise } from '../../../../src/runtime/torch/find-pointwise.ts';
import { nvrtcCandidates } from '../../../../src/runtime/torch/kernels/find-nvrtc.ts';
import { gegluGradLaunch, gegluLaunch } from '../../../../src/runtime/torch/kernels/geglu.ts';
import {
  groupNormGradLaunch,
  groupNormGradStatisticsLaunch,
  groupNormLaunch,
  groupNormStatisticsLaunch,
} from '../../../../src/runtime/torch/kernels/group-norm.ts';
import type { Launch } from '../../../../src/runtime/torch/kernels/kernel.ts';
import {
  layerNormGradLaunch,
  layerNormLaunch,
} from '../../../../src/runtime/torch/kernels/layer-norm.ts';
import { openCompiler } from '../../../../src/runtime/torch/kernels/nvrtc.ts';
import { pointwiseLaunch } from '../../../../src/runtime/torch/kernels/pointwise.ts';

const root = mkdtempSync(join(tmpdir(), 'nvrtc-'));
afterAll(() => rmSync(root, { recursive: true }));

function folder(name: string, ...files: string[]): string {
  const path = join(root, name);
  mkdirSync(path, { recursive: true });
  for (const file of files) writeFileSync(join(path, file), '');
  return path;
}

test("in NVIDIA's packages beside torch, with its builtins, before the system's", () => {
  const torch = folder('a/torch/lib', 'libtorch.so');
  const lib = folder(
    'a/nvidia/cu13/lib',
    ...['libnvrtc.alt.so.13', 'libnvrtc.so.13', 'libnvrtc-builtins.so.13.0', 'libcublas.so.13'],
  );
  const [first, ...rest] = nvrtcCandidates(torch, 'linux');
  expect(first).toEqual({
    compiler: join(lib, 'libnvrtc.so.13'),
    builtins: join(lib, 'libnvrtc-builtins.so.13.0'),
  });
  expect(rest.map(({ compiler }) => compiler)).toContain('libnvrtc.so.12');
});

test("in torch's own folder on Windows", () => {
  const torch = folder('b/torch/lib', 'nvrtc64_120_0.dll', 'nvrtc-builtins64_128.dll', 'torch.dll');
  expect(nvrtcCandidates(torch, 'win32')).toEqual([
    {
      compiler: join(torch, 'nvrtc64_120_0.dll'),
      builtins: join(torch, 'nvrtc-builtins64_128.dll'),
    },
  ]);
});

/** Folder of a CUDA build of libtorch, beside which its compiler lies; it needs no GPU. */
const torchFolder = process.env['SDL_NVRTC'];
const missing = torchFolder === undefined ? 'SDL_NVRTC names no folder of libtorch' : undefined;
const suite =
  missing === undefined ? "NVIDIA's compiler" : `NVIDIA's compiler (skipped: ${missing})`;

const size = { images: 2, channels: 320, pixels: 4096, groups: 32 };
/** A vector's moment, as an optimizer has it. */
function vectorLaunch(mayAlias: boolean): Launch {
  const g = new GraphBuilder();
  const x = g.input('x', [2 ** 16]);
  const rate = g.input('rate', []);
  const y = g.sub(x, g.mul(g.scale(rate, 1e-8), g.sqrt(g.square(x))));
  const [chain] = findPointwise(g.build({ y }), { byAddition: new Map(), absorbed: new Set() });
  return pointwiseLaunch(chain!, { mayAlias });
}

const launches = (compute: 'f32' | 'bf16' | 'f16'): Launch[] =>
  [true, false].flatMap((on) => [
    vectorLaunch(on),
    gegluLaunch(compute, 64, 1280),
    gegluGradLaunch(compute, 64, 1280, { again: on }),
    layerNormLaunch(compute, [64, 1280], 1e-5, { sums: on }),
    layerNormGradLaunch(compute, [64, 1280], { adds: on, again: on }),
    groupNormStatisticsLaunch(compute, size, { image: on, perImage: !on, perChannel: on }),
    groupNormStatisticsLaunch(compute, size, { image: false, perImage: false, perChannel: false }),
    groupNormLaunch(compute, size, 1e-5, { silu: on }),
    groupNormGradStatisticsLaunch(compute, size, { silu: on }),
    groupNormGradLaunch(compute, size, { silu: on, adds: on }),
  ]);

describe.skipIf(missing !== undefined)(suite, () => {
  test.each([75, 86, 90])('compute capability %i', { timeout: 60_000 }, async (architecture) => {
    const { compileBeside } = openCompiler(torchFolder!, architecture);
    const kernels = (['f32', 'bf16', 'f16'] as const).flatMap(launches).map(({ kernel }) => kernel);
    const codes = await Promise.all(kernels.map(compileBeside));
    // Machine code in ELF.
    for (const code of codes) expect(code.subarray(1, 4).toString()).toBe('ELF');
  });

  test('a mistake is told in its words; a GPU that it does not know, by its number', () => {
    const { compile } = openCompiler(torchFolder!, 90);
    expect(() => compile({ entry: 'x', source: 'wrong' })).toThrow(/^internal: x cannot.*error/s);
    expect(() => openCompiler(torchFolder!, 61)).toThrow('does not know compute capability 6.1');
  });
});
