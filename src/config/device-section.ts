/** @file The section `device` of a configuration file. */

import { z } from 'zod';

/** What computes, and in how much memory. */
export const deviceSection = z.strictObject({
  executor: z
    .enum(['auto', 'onnx', 'torch', 'reference'])
    .default('auto')
    .describe(
      'What computes: ONNX Runtime; libtorch, which is the library of an installed PyTorch (2.10 or newer); plain loops (very slow; for checking); or auto: the one whose device is named by device.provider or device.torchDevice, otherwise libtorch where it finds a GPU, else ONNX Runtime.',
    ),
  provider: z
    .enum(['cpu', 'webgpu', 'dml', 'coreml', 'cuda'])
    .default('cpu')
    .describe("ONNX Runtime's execution provider: the processor, or a GPU by one of these ways."),
  torchDevice: z
    .string()
    .regex(/^(auto|cpu|mps|(cuda|xpu)(:\d+)?)$/, 'auto, cpu, cuda, cuda:1, mps or xpu')
    .default('auto')
    .describe(
      'Where libtorch computes: auto (the first GPU, else cpu), cpu, cuda, cuda:1, mps, xpu.',
    ),
  precision: z
    .enum(['auto', 'f32', 'bf16'])
    .default('auto')
    .describe(
      'Type in which libtorch computes the networks; the adapter and its optimizer are f32 always. auto: bf16 on a GPU, f32 on the processor.',
    ),
  libtorch: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      "Folder of a PyTorch installation: a Python environment, or libtorch itself. Default: SDL_TORCH, the active environment, .venv, python3 on PATH, the web UI's.",
    ),
  threads: z
    .int()
    .min(1)
    .max(1024)
    .nullable()
    .default(null)
    .describe('Threads of the processor. Default: one for each core.'),
  memory: z
    .string()
    .regex(/^(auto|(?!0+(\.0+)?\s*[KMGT])\d+(\.\d+)?\s*[MG]i?B)$/i, 'auto, or a size such as 8GB')
    .nullable()
    .default(null)
    .describe(
      'Most memory that training may take: a size such as 8GB or 7.5GiB, or auto: nine tenths of what is free at the start. As far as needed, batches are cut into smaller parts, train.gradientCheckpointing is turned on and graphs are compiled anew at each change of shape, which changes the result by rounding alone; what cannot fit is refused. Previews come on top. Default: no limit.',
    ),
});
