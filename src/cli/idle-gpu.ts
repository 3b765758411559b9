/** @file Says that a GPU of this machine stands idle, and what would change that. */

import type { UnsizedConfig } from '../config/resolve-config.ts';
import { installCommand } from '../runtime/torch/find-libtorch.ts';
import { chooseExecutor, usesProcessor } from './create-executor.ts';
import { findNvidiaDriver } from './nvidia-driver.ts';

/** Undefined where a GPU is used, or none is there, or the configuration asks for the processor. */
export async function idleGpu(
  config: Pick<UnsizedConfig, 'device' | 'webui'>,
  findDriver = findNvidiaDriver,
): Promise<string | undefined> {
  const { executor, provider, torchDevice } = config.device;
  const isOpen = (executor === 'auto' || executor === 'torch') && torchDevice === 'auto';
  if (!isOpen || provider !== 'cpu') return undefined;
  const gpu = (await findDriver())?.gpus[0];
  if (!gpu || !(await usesProcessor(config))) return undefined;
  const { why } = await chooseExecutor({
    ...config,
    device: { ...config.device, executor: 'auto' },
  });
  const command = installCommand(process.platform, gpu.capability);
  return `${gpu.name} is not used: ${why}. For a libtorch that can use it: ${command}`;
}
