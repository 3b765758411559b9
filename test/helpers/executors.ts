/**
 * @file The executors that every operation is tested on: those that come with npm, TensorFlow.js's
 * wasm, and libtorch where it is found.
 */

import type { Executor, ParameterSource } from '../../src/runtime/executor.ts';
import { createOnnxExecutor } from '../../src/runtime/onnx/onnx-executor.ts';
import { createReferenceExecutor } from '../../src/runtime/reference/reference-executor.ts';
import { openTfjs } from '../../src/runtime/tfjs/open-tfjs.ts';
import { createTfjsExecutor } from '../../src/runtime/tfjs/tfjs-executor.ts';
import { findLibtorch } from '../../src/runtime/torch/find-libtorch.ts';
import { createTorchExecutor } from '../../src/runtime/torch/torch-executor.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { UserError } from '../../src/tensor/user-error.ts';

/** An executor under test. */
export interface TestedExecutor {
  readonly name: string;
  /** Largest error of an operation or gradient against f64, relative to the tensor's maximum. */
  readonly tolerance: number;
  readonly create: (parameters: ParameterSource) => Executor;
}

/** Why tests on libtorch are skipped; undefined where it is there. */
export const torchMissing: string | undefined = (() => {
  try {
    findLibtorch();
    return undefined;
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
})();

/** bench/gpu.sh tests on a GPU. */
const device = process.env['SDL_TORCH_DEVICE'] ?? 'cpu';

const torch = {
  create: (parameters: ParameterSource) =>
    createTorchExecutor({ parameters, device, compute: 'f32', threads: 1 }),
  // As onnx; its convolutions sum in other orders.
  tolerance: 1e-5,
};

const torchExecutors: readonly TestedExecutor[] = [
  { name: 'torch', ...torch },
  {
    name: 'torch, row-major norms',
    ...torch,
    create: (parameters) =>
      createTorchExecutor({ parameters, device, compute: 'f32', threads: 1, rowMajorNorms: true }),
  },
  {
    name: 'torch, composed attention, row-major images',
    ...torch,
    create: (parameters) =>
      createTorchExecutor({
        parameters,
        device,
        compute: 'f32',
        threads: 1,
        composedAttention: true,
        channelsLast: false,
      }),
  },
];

/** Another provider of ONNX Runtime to test, such as webgpu on a machine with a GPU or a software one. */
const provider = process.env['SDL_ONNX_PROVIDER'];

const wasm = await openTfjs('wasm');
const plainJavaScript = await openTfjs('cpu');

const tfjsExecutors: readonly TestedExecutor[] = [
  {
    name: 'tfjs on wasm',
    // As onnx.
    tolerance: 1e-5,
    create: (parameters) => createTfjsExecutor({ parameters, backend: wasm }),
  },
  {
    name: 'tfjs on plain JavaScript',
    tolerance: 1e-5,
    create: (parameters) => createTfjsExecutor({ parameters, backend: plainJavaScript }),
  },
  {
    name: "tfjs on wasm by libtensorflow's steps",
    tolerance: 1e-5,
    create: (parameters) =>
      createTfjsExecutor({
        parameters,
        backend: wasm,
        target: { singleProducts: false, gradientKernel: true },
      }),
  },
];

export const executors: readonly TestedExecutor[] = [
  {
    name: 'reference',
    // It rounds to f32 (6e-8) once an operation, and a gradient here passes a handful of them.
    tolerance: 1e-6,
    create: (parameters) => createReferenceExecutor({ parameters, precision: 'f32' }),
  },
  {
    name: 'onnx',
    // It also sums in f32, up to some hundred terms here, some of which cancel.
    tolerance: 1e-5,
    create: (parameters) => createOnnxExecutor({ parameters, threads: 1 }),
  },
  ...tfjsExecutors,
  ...(provider === undefined
    ? []
    : [
        {
          name: `onnx, ${provider}`,
          tolerance: 1e-5,
          create: (parameters: ParameterSource) => createOnnxExecutor({ parameters, provider }),
        },
      ]),
  ...(torchMissing === undefined ? torchExecutors : []),
];

/** Parameters from tensors by name. */
export function parametersFrom(values: Readonly<Record<string, Tensor>>): ParameterSource {
  return {
    read: (name) => {
      const value = values[name];
      if (value?.dtype !== 'f32') throw new Error(`internal: no parameter ${name}`);
      return value.data as Float32Array;
    },
  };
}

/** No parameters at all. */
export const noParameters: ParameterSource = parametersFrom({});
