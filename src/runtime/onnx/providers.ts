/** @file The execution providers of the ONNX Runtime that is installed. */

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { listSupportedBackends } from 'onnxruntime-node';
import { UserError } from '../../tensor/user-error.ts';

/** Where onnxruntime-node's install script puts the provider that it downloads. */
function hasCudaLibrary(): boolean {
  const entry = createRequire(import.meta.url).resolve('onnxruntime-node');
  const folder = join(dirname(dirname(entry)), 'bin', 'napi-v6', process.platform, process.arch);
  return existsSync(join(folder, 'libonnxruntime_providers_cuda.so'));
}

/** Whether the package offers CUDA's provider for this system at all. */
export const canHaveCuda = () => process.platform === 'linux' && process.arch === 'x64';

export const howToGetCuda =
  'for an NVIDIA GPU (Linux x64, CUDA 12 and cuDNN 9), once: ONNXRUNTIME_NODE_INSTALL=cuda12 npm rebuild onnxruntime-node --foreground-scripts';

/** Names of the providers that can be tried here, `cpu` first; whether a device answers is not known yet. */
export function installedProviders(): string[] {
  const bundled = listSupportedBackends()
    .filter(({ bundled }) => bundled)
    .map(({ name }) => name);
  return hasCudaLibrary() ? [...bundled, 'cuda'] : bundled;
}

/**
 * ONNX Runtime leaves out a provider that it does not know, and computes on the processor.
 * @throws UserError for a provider that is not installed
 */
export function checkProvider(provider: string): void {
  const installed = installedProviders();
  if (installed.includes(provider)) return;
  const cuda = provider === 'cuda' && canHaveCuda() ? `; ${howToGetCuda}` : '';
  throw new UserError(
    `device.provider: ${provider} is not in the ONNX Runtime for ${process.platform} ${process.arch}; ` +
      `it has: ${installed.join(', ')}${cuda}`,
  );
}
