/** @file Says that a GPU of this machine stands idle, and what would change that. */

import type { UnsizedConfig } from '../config/resolve-config.ts';
import { installCommand } from '../runtime/torch/find-libtorch.ts';
import { UserError } from '../tensor/user-error.ts';
import { chooseExecutor, usesProcessor } from './create-executor.ts';
import { findNvidiaDriver } from './nvidia-driver.ts';

type DeviceConfig = Pick<UnsizedConfig, 'device' | 'webui'>;

/** Undefined where a GPU is used, or none is there, or the configuration asks for the processor. */
export async function idleGpu(
  config: DeviceConfig,
  findDriver = findNvidiaDriver,
): Promise<string | undefined> {
  const { executor, provider, torchDevice } = config.device;
  const isOpen = (executor === 'auto' || executor === 'torch') && torchDevice === 'auto';
  if (!isOpen || provider !== 'cpu') return undefined;
  const driver = await findDriver();
  const gpu = driver?.gpus[0];
  if (!driver || !gpu || !(await isOnProcessor(config))) return undefined;
  const { why } = await chooseExecutor({
    ...config,
    device: { ...config.device, executor: 'auto' },
  });
  const { capability } = gpu;
  const command = installCommand(process.platform, { capability, cuda: driver.cuda });
  return `${gpu.name} is not used: ${why}. For a libtorch that can use it: ${command}`;
}

/** False too where nothing computes: who needs it says so. */
async function isOnProcessor(config: DeviceConfig): Promise<boolean> {
  try {
    return await usesProcessor(config);
  } catch (error) {
    if (error instanceof UserError) return false;
    throw error;
  }
}
