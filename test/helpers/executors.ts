/** @file The executors that every operation is tested on. */

import type { Executor, ParameterSource } from '../../src/runtime/executor.ts';
import { createOnnxExecutor } from '../../src/runtime/onnx/onnx-executor.ts';
import { createReferenceExecutor } from '../../src/runtime/reference/reference-executor.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

/** An executor under test. */
export interface TestedExecutor {
  readonly name: string;
  /** Largest error of an operation or gradient against f64, relative to the tensor's maximum. */
  readonly tolerance: number;
  readonly create: (parameters: ParameterSource) => Executor;
}

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
