/** @file Every device that could compute here: its engine, memory and driver, and how fast it is. */

import { totalmem } from 'node:os';
import type { Config } from '../../config/resolve-config.ts';
import type { Executor, ParameterSource } from '../../runtime/executor.ts';
import { deviceText, listDevices, type TorchDevice } from '../../runtime/torch/device.ts';
import { findLibtorch, mayHaveGpu } from '../../runtime/torch/find-libtorch.ts';
import { type NvidiaDriver, nvidiaDriver } from '../../runtime/torch/nvidia-gpus.ts';
import { UserError } from '../../tensor/user-error.ts';
import { loadTorch, torchChoice } from '../create-executor.ts';
import { formatBytes } from '../format-units.ts';
import { type Finding, reasonOf } from './finding.ts';

/** A way to compute on this machine. */
interface UsableDevice {
  /** How a configuration names it: `onnx cpu`, `torch cuda:0`. */
  readonly name: string;
  readonly about: string;
  readonly create: (parameters: ParameterSource) => Promise<Executor>;
}

type Search = Pick<Config, 'device' | 'webui'>;

/** A device for each provider; none where ONNX Runtime cannot be loaded: `doctor` says so elsewhere. */
async function onnxDevices({ device }: Search): Promise<UsableDevice[]> {
  const runtime = await import('onnxruntime-node').catch(() => null);
  if (!runtime) return [];
  const { createOnnxExecutor } = await import('../../runtime/onnx/onnx-executor.ts');
  const { installedProviders } = await import('../../runtime/onnx/providers.ts');
  const { threads } = device;
  return installedProviders().map((provider) => ({
    name: `onnx ${provider}`,
    about: `ONNX Runtime ${runtime.env.versions.node ?? ''}, f32`,
    create: async (parameters) =>
      createOnnxExecutor({ parameters, provider, ...(threads === null ? {} : { threads }) }),
  }));
}

/** `NVIDIA H100 80GB HBM3, 85.0 GB, driver 580.159.04 (CUDA 13.0)`. */
function gpuText({ kind, index }: TorchDevice, driver: NvidiaDriver | undefined): string {
  if (kind === 'mps') return `Apple GPU, shares ${formatBytes(totalmem())} with the processor`;
  const gpu = kind === 'cuda' ? driver?.gpus[index] : undefined;
  if (!driver || !gpu) return kind === 'xpu' ? 'Intel GPU' : 'GPU';
  const version = driver.version === null ? '' : ` ${driver.version}`;
  return `${gpu.name}, ${formatBytes(gpu.memory)}, driver${version} (CUDA ${driver.cuda})`;
}

/** None where libtorch is not there; `doctor` says so elsewhere. */
async function torchDevices(config: Search): Promise<UsableDevice[]> {
  const choice = torchChoice(config);
  try {
    const found = findLibtorch(choice);
    const { chooseTorch, createTorchExecutor } = await loadTorch();
    const { library } = chooseTorch({ ...choice, device: 'cpu' });
    const driver = mayHaveGpu(found) ? nvidiaDriver() : undefined;
    const version = found.version ?? library.version.join('.');
    const { threads } = config.device;
    return listDevices(library).map((device) => {
      const onGpu = device.kind !== 'cpu';
      const { compute } = chooseTorch({ ...choice, device: deviceText(device) });
      const gpu = onGpu ? `${gpuText(device, driver)}; ` : '';
      return {
        name: `torch ${deviceText(device)}`,
        about: `${gpu}libtorch ${version}, ${compute}`,
        create: async (parameters) =>
          createTorchExecutor({
            parameters,
            ...choice,
            compute,
            device: deviceText(device),
            ...(threads === null ? {} : { threads }),
          }),
      };
    });
  } catch (error) {
    if (error instanceof UserError) return [];
    throw error;
  }
}

async function findingOf(device: UsableDevice, speed: boolean): Promise<Finding> {
  const { name, about, create } = device;
  if (!speed) return { verdict: 'good', name, text: about };
  try {
    const { measureSpeed } = await import('./measure-speed.ts');
    const { matmul, convolution } = await measureSpeed(create);
    const rate = (value: number) => (value < 10 ? value.toFixed(1) : Math.round(value));
    const rates = `matrix product ${rate(matmul)}, convolution ${rate(convolution)} GFLOP/s`;
    return { verdict: 'good', name, text: `${about}: ${rates}` };
  } catch (error) {
    const reason = reasonOf(error).replace(/^device\.provider: /, '');
    return { verdict: 'note', name, text: `${about}, does not work: ${reason}` };
  }
}

/** A line for each; `speed` measures each for a second or two. */
export async function deviceFindings(config: Search, speed: boolean): Promise<Finding[]> {
  const devices = [...(await onnxDevices(config)), ...(await torchDevices(config))];
  const findings: Finding[] = [];
  for (const device of devices) findings.push(await findingOf(device, speed));
  return findings;
}
