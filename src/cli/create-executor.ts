/** @file The executor that a configuration asks for; loaded only when it is needed. */

import type { UnsizedConfig } from '../config/resolve-config.ts';
import type { Executor, MemoryModel, ParameterSource, WeightOptions } from '../runtime/executor.ts';
import { onnxMemory } from '../runtime/onnx/memory/onnx-memory.ts';
import { backendText, openTfjs } from '../runtime/tfjs/open-tfjs.ts';
import { deviceText, lackOf } from '../runtime/torch/device.ts';
import { type FoundLibtorch, findLibtorch, mayHaveGpu } from '../runtime/torch/find-libtorch.ts';
import type { TorchChoice } from '../runtime/torch/torch-executor.ts';
import { UserError } from '../tensor/user-error.ts';

/** Makes executors that share nothing but their parameters. */
export type ExecutorFactory = (
  parameters: ParameterSource,
  options: WeightOptions,
) => Promise<Executor>;

/** Loads ONNX Runtime's library, which not every system can. */
async function loadOnnx() {
  try {
    return await import('../runtime/onnx/onnx-executor.ts');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (
      code !== 'ERR_DLOPEN_FAILED' &&
      code !== 'ERR_MODULE_NOT_FOUND' &&
      code !== 'MODULE_NOT_FOUND'
    ) {
      throw error;
    }
    throw new UserError(
      `ONNX Runtime cannot be loaded on ${process.platform} ${process.arch} (${message.split('\n')[0]}); ` +
        'run npm install again, and see that the system has glibc (Alpine has not)',
    );
  }
}

/** Loads the binding to libtorch, whose package npm may have left out. */
export async function loadTorch() {
  try {
    return await import('../runtime/torch/torch-executor.ts');
  } catch (error) {
    const { message } = error as Error;
    if (!/koffi/i.test(message)) throw error;
    throw new UserError(
      `koffi, which calls libtorch, cannot be loaded (${message.split('\n')[0]}); ` +
        'run npm install again, with optional dependencies',
    );
  }
}

/** What a configuration says about libtorch. */
export function torchChoice({
  device,
  webui,
}: Pick<UnsizedConfig, 'device' | 'webui'>): TorchChoice {
  const { torchDevice, precision, libtorch } = device;
  return {
    device: torchDevice,
    ...(precision === 'auto' ? {} : { compute: precision }),
    ...(libtorch === null ? {} : { path: libtorch }),
    ...(webui === null ? {} : { webui }),
  };
}

/** The executor that is used, and why it is that one. */
export interface ExecutorChoice {
  readonly executor: Exclude<UnsizedConfig['device']['executor'], 'auto'>;
  readonly why: string;
}

const version = (found: FoundLibtorch) => (found.version === null ? '' : ` ${found.version}`);

/** Without where was looked and what to do; of one that is too old, with what is needed. */
function lackOfTorch(message: string): string {
  const end = message.startsWith('found ') ? /; install it.*/s : /[;(].*/s;
  return message.replace(end, '').trim();
}

/** libtorch where it finds a GPU, else ONNX Runtime. */
async function automaticChoice(
  config: Pick<UnsizedConfig, 'device' | 'webui'>,
): Promise<ExecutorChoice> {
  const { provider, torchDevice } = config.device;
  if (provider !== 'cpu') return { executor: 'onnx', why: `device.provider is ${provider}` };
  if (torchDevice !== 'auto') {
    return { executor: 'torch', why: `device.torchDevice is ${torchDevice}` };
  }
  const choice = torchChoice(config);
  try {
    const found = findLibtorch(choice);
    if (!mayHaveGpu(found)) {
      return { executor: 'onnx', why: `libtorch${version(found)} has no part for GPUs` };
    }
    const { library, device } = (await loadTorch()).chooseTorch(choice);
    if (device.kind !== 'cpu') {
      return { executor: 'torch', why: `libtorch finds ${deviceText(device)}` };
    }
    const lack = library.hasCuda
      ? lackOf(library, { kind: 'cuda', index: 0 })
      : library.cudaProblem;
    const reason = lack === undefined ? '' : ` (${lack})`;
    return { executor: 'onnx', why: `libtorch${version(found)} finds no GPU${reason}` };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { executor: 'onnx', why: lackOfTorch(error.message) };
  }
}

/** What a configuration's `device.executor` comes down to on this machine. */
export async function chooseExecutor(
  config: Pick<UnsizedConfig, 'device' | 'webui'>,
): Promise<ExecutorChoice> {
  const { executor } = config.device;
  if (executor !== 'auto') return { executor, why: `device.executor is ${executor}` };
  return automaticChoice(config);
}

/** Whether a configuration comes down to the processor, by ONNX Runtime or libtorch. */
export async function usesProcessor(
  config: Pick<UnsizedConfig, 'device' | 'webui'>,
): Promise<boolean> {
  const { executor } = await chooseExecutor(config);
  if (executor === 'onnx') return config.device.provider === 'cpu';
  if (executor !== 'torch') return false;
  return (await loadTorch()).chooseTorch(torchChoice(config)).device.kind === 'cpu';
}

/** What computes, in words: `libtorch 2.13.0, cuda:0, bf16`. */
export async function executorText(
  config: Pick<UnsizedConfig, 'device' | 'webui'>,
): Promise<string> {
  const { executor } = await chooseExecutor(config);
  if (executor === 'reference') return 'plain loops (very slow)';
  if (executor === 'onnx') return `ONNX Runtime, ${config.device.provider}`;
  if (executor === 'tfjs') {
    return `TensorFlow.js ${backendText(await openTfjs(config.device.tfjsBackend))}`;
  }
  const { chooseTorch } = await loadTorch();
  const { library, device, compute } = chooseTorch(torchChoice(config));
  return `libtorch ${library.found.version ?? library.version.join('.')}, ${deviceText(device)}, ${compute}`;
}

/** What is known of the memory of a configuration's executor; of plain loops and TensorFlow.js, ONNX Runtime's stands for it. */
export async function memoryModel(
  config: Pick<UnsizedConfig, 'device' | 'webui'>,
): Promise<MemoryModel> {
  if ((await chooseExecutor(config)).executor !== 'torch') return onnxMemory();
  const [{ chooseTorch }, { torchMemory }] = await Promise.all([
    loadTorch(),
    import('../runtime/torch/torch-memory.ts'),
  ]);
  const { device, compute } = chooseTorch(torchChoice(config));
  return torchMemory(device, compute, config.device);
}

/**
 * A factory for the executor of a configuration.
 * @param note told what of a device is not made use of, and why
 */
export function executorFactory(
  config: Pick<UnsizedConfig, 'device' | 'webui'>,
  note: (text: string) => void = () => undefined,
): ExecutorFactory {
  return async (parameters, weightOptions) => {
    const { provider, threads, cudaGraphs, fusedKernels, tfjsBackend } = config.device;
    const { executor } = await chooseExecutor(config);
    if (executor === 'torch') {
      const { createTorchExecutor } = await loadTorch();
      return createTorchExecutor({
        parameters,
        ...torchChoice(config),
        cudaGraphs,
        fusedKernels,
        note,
        ...(threads === null ? {} : { threads }),
      });
    }
    if (executor === 'tfjs') {
      const { createTfjsExecutor } = await import('../runtime/tfjs/tfjs-executor.ts');
      return createTfjsExecutor({ parameters, backend: await openTfjs(tfjsBackend) });
    }
    if (executor === 'reference') {
      const { createReferenceExecutor } = await import(
        '../runtime/reference/reference-executor.ts'
      );
      return createReferenceExecutor({ parameters, precision: 'f32' });
    }
    const { createOnnxExecutor } = await loadOnnx();
    return createOnnxExecutor({
      parameters,
      provider,
      ...weightOptions,
      ...(threads === null ? {} : { threads }),
    });
  };
}
