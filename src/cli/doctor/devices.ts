/** @file Every device that could compute here: its engine, memory and driver, and how fast it is. */

import { totalmem } from 'node:os';
import type { Config } from '../../config/resolve-config.ts';
import type { Executor, ParameterSource, Precision } from '../../runtime/executor.ts';
import { deviceText, listDevices, type TorchDevice } from '../../runtime/torch/device.ts';
import { findLibtorch, mayHaveGpu } from '../../runtime/torch/find-libtorch.ts';
import type { NvidiaDriver } from '../../runtime/torch/nvidia-gpus.ts';
import { UserError } from '../../tensor/user-error.ts';
import { loadTorch, torchChoice } from '../create-executor.ts';
import { formatBytes } from '../format-units.ts';
import { findNvidiaDriver } from '../nvidia-driver.ts';
import { type Finding, reasonOf } from './finding.ts';
import type { Speed } from './measure-speed.ts';

/** A way to compute on this machine. */
interface UsableDevice {
  /** How a configuration names it: `onnx cpu`, `torch cuda:0`. */
  readonly name: string;
  readonly about: string;
  /** What to set, where it is worth it, and the device of the same engine that it has to beat. */
  readonly ifFaster?: { readonly than: string; readonly advice: string };
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
    const driver = mayHaveGpu(found) ? await findNvidiaDriver() : undefined;
    const version = found.version ?? library.version.join('.');
    const { threads } = config.device;
    return listDevices(library).flatMap((device): UsableDevice[] => {
      const onGpu = device.kind !== 'cpu';
      const gpu = onGpu ? `${gpuText(device, driver)}; ` : '';
      const name = `torch ${deviceText(device)}`;
      const usable = (compute: Precision) => ({
        name,
        about: `${gpu}libtorch ${version}, ${compute}`,
        create: async (parameters: ParameterSource) =>
          createTorchExecutor({
            parameters,
            ...choice,
            compute,
            device: deviceText(device),
            ...(threads === null ? {} : { threads }),
          }),
      });
      if (choice.compute) return [usable(choice.compute)];
      if (onGpu) return [usable(chooseTorch({ ...choice, device: deviceText(device) }).compute)];
      // Some processors multiply bf16 twice as fast; most do it in f32, with conversions.
      return [
        usable('f32'),
        { ...usable('bf16'), name: `${name} bf16`, ifFaster: { than: name, advice: halfAdvice } },
      ];
    });
  } catch (error) {
    if (error instanceof UserError) return [];
    throw error;
  }
}

const halfAdvice =
  'faster than in f32, in half the memory: device.executor: torch, device.torchDevice: cpu, device.precision: bf16';
/** What is advised has to gain more than what rounding to 16 bits costs in care. */
const clearly = 1.3;

/** @param known speeds by name, to which this device's is added */
async function findingOf(
  { name, about, ifFaster, create }: UsableDevice,
  known: Map<string, Speed>,
): Promise<Finding> {
  try {
    const { measureSpeed } = await import('./measure-speed.ts');
    const speed = await measureSpeed(create);
    known.set(name, speed);
    const { matmul, convolution } = speed;
    const other = ifFaster && known.get(ifFaster.than);
    const isFaster =
      other && matmul > clearly * other.matmul && convolution > clearly * other.convolution;
    const rate = (value: number) => (value < 10 ? value.toFixed(1) : Math.round(value));
    const rates = `matrix product ${rate(matmul)}, convolution ${rate(convolution)} GFLOP/s`;
    const advice = isFaster ? { advice: ifFaster.advice } : {};
    return { verdict: 'good', name, text: `${about}: ${rates}`, ...advice };
  } catch (error) {
    const reason = reasonOf(error).replace(/^device\.provider: /, '');
    return { verdict: 'note', name, text: `${about}, does not work: ${reason}` };
  }
}

/** A line for each; `speed` measures each for a second or two. */
export async function deviceFindings(config: Search, speed: boolean): Promise<Finding[]> {
  const devices = [...(await onnxDevices(config)), ...(await torchDevices(config))];
  const findings: Finding[] = [];
  const known = new Map<string, Speed>();
  for (const device of devices) {
    const { name, about, ifFaster } = device;
    if (speed) findings.push(await findingOf(device, known));
    // What is only of use if it is fast cannot be told from what is not.
    else if (!ifFaster) findings.push({ verdict: 'good', name, text: about });
  }
  return findings;
}
