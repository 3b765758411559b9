/** @file What a figure was measured with. */

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus, release } from 'node:os';
import { findLibtorch } from '../src/runtime/torch/find-libtorch.ts';

/** The version of the engine behind an executor; null for plain loops. */
function engineVersion(executor: string): string | null {
  if (executor === 'torch') return findLibtorch().version;
  if (executor !== 'onnx') return null;
  const path = createRequire(import.meta.url).resolve('onnxruntime-node/package.json');
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
}

/** Name and driver of the first NVIDIA GPU; null where there is none. */
function gpu(): string | null {
  const args = ['-i', '0', '--query-gpu=name,driver_version', '--format=csv,noheader'];
  const { status, stdout } = spawnSync('nvidia-smi', args, { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : null;
}

export function measuredWith(executor: string) {
  return {
    date: new Date().toISOString().slice(0, 10),
    engine: engineVersion(executor),
    gpu: gpu(),
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    system: `${process.platform} ${release()}`,
    node: process.version,
  };
}
