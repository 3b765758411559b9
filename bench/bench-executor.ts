/** @file The executor that a benchmark's options ask for. */

import type { Executor, ParameterSource } from '../src/runtime/executor.ts';

export interface ExecutorOptions {
  /** onnx, torch or reference. */
  readonly executor: string;
  /** Of torch: auto, cpu, cuda, cuda:1, mps, xpu. Of onnx: its execution provider. */
  readonly device: string;
  /** Of torch: f32, bf16 or f16; bf16 on a GPU and f32 on the processor unless given. */
  readonly precision?: string | undefined;
  /** Of torch on CUDA: launches captured graphs; true unless given. */
  readonly cudaGraphs?: boolean | undefined;
  /** Of captured graphs: computes gradients of factors beside what follows; true unless given. */
  readonly sideStream?: boolean | undefined;
  /** Of torch on CUDA: norms and GEGLU by kernels of our own, where faster; true unless given. */
  readonly fusedKernels?: boolean | undefined;
  /** Of torch: images and kernels row-major, whatever is faster. */
  readonly rowMajor?: boolean | undefined;
  readonly threads: number;
  /** Of onnx: keeps convolution kernels in their fastest layouts, too. */
  readonly flipWeights?: boolean | undefined;
  /** Of onnx: idle threads wait in a loop. */
  readonly spinning?: boolean | undefined;
  /** Of onnx: prefix of a file for its own timing. */
  readonly profile?: string | undefined;
}

async function torchExecutor(
  parameters: ParameterSource,
  options: ExecutorOptions,
): Promise<Executor> {
  const { createTorchExecutor } = await import('../src/runtime/torch/torch-executor.ts');
  const { device, threads, precision, rowMajor = false } = options;
  const { cudaGraphs = true, sideStream = true, fusedKernels = true } = options;
  const compute = precision as 'f32' | 'bf16' | 'f16' | undefined;
  return createTorchExecutor({
    parameters,
    device,
    threads,
    cudaGraphs,
    sideStream,
    fusedKernels,
    ...(rowMajor ? { channelsLast: false } : {}),
    note: (text) => process.stdout.write(`note: ${text}\n`),
    ...(compute ? { compute } : {}),
  });
}

async function onnxExecutor(
  parameters: ParameterSource,
  { device, threads, flipWeights = true, spinning = true, profile }: ExecutorOptions,
): Promise<Executor> {
  const { createOnnxExecutor } = await import('../src/runtime/onnx/onnx-executor.ts');
  return createOnnxExecutor({
    parameters,
    threads,
    provider: device === 'auto' ? 'cpu' : device,
    flipWeights,
    spinning,
    ...(profile ? { profilePrefix: profile } : {}),
  });
}

/** Loads only what it needs, so that a machine with libtorch alone can run torch. */
export async function benchExecutor(
  parameters: ParameterSource,
  options: ExecutorOptions,
): Promise<Executor> {
  if (options.executor === 'torch') return torchExecutor(parameters, options);
  if (options.executor === 'onnx') return onnxExecutor(parameters, options);
  if (options.executor === 'reference') {
    const { createReferenceExecutor } = await import(
      '../src/runtime/reference/reference-executor.ts'
    );
    return createReferenceExecutor({ parameters, precision: 'f32' });
  }
  throw new Error(`--executor ${options.executor}: give onnx, torch or reference`);
}
