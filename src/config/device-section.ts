/** @file The section `device` of a configuration file. */

import { z } from 'zod';

/** What computes, and in how much memory. */
export const deviceSection = z.strictObject({
  executor: z
    .enum(['auto', 'onnx', 'torch', 'tfjs', 'reference'])
    .default('auto')
    .describe(
      'What computes: ONNX Runtime; libtorch, which is the library of an installed PyTorch (2.10 or newer); TensorFlow.js, where it is installed (slower than both; in f32); plain loops (very slow; for checking); or auto: the one whose device is named by device.provider or device.torchDevice, otherwise libtorch where it finds a GPU, else ONNX Runtime.',
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
    .enum(['auto', 'f32', 'bf16', 'f16'])
    .default('auto')
    .describe(
      'Type in which libtorch computes the networks; the adapter and its optimizer are f32 always. auto: f32 on the processor, bf16 on a GPU, but f16 on NVIDIA GPUs before Ampere, which have no bf16. In f16 the loss is scaled so that gradients stay in its range, steps in which one leaves it are skipped, and the VAE is in f32. On most processors f16 is slow.',
    ),
  libtorch: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      "Folder of a PyTorch installation: a Python environment, or libtorch itself. Default: SDL_TORCH, the active environment, .venv, python3 on PATH, the web UI's.",
    ),
  cudaGraphs: z
    .boolean()
    .default(true)
    .describe(
      'On an NVIDIA GPU, libtorch launches a whole step as one captured graph from the fourth on, where that gives the same values; false: call by call always, which is slower and takes a little less memory where pictures have many shapes.',
    ),
  fusedKernels: z
    .boolean()
    .default(true)
    .describe(
      "On an NVIDIA GPU, norms with what is around them, the feed-forward layers' GEGLU and AdamW are computed by kernels of our own, compiled at the start by NVIDIA's NVRTC, which comes with PyTorch, where they are not slower than libtorch's and give the same; false: by libtorch's always.",
    ),
  tfjsBackend: z
    .enum(['auto', 'node-gpu', 'node', 'wasm', 'cpu'])
    .default('auto')
    .describe(
      "What computes under TensorFlow.js: libtensorflow by an installed tfjs-node-gpu or tfjs-node; tfjs's own wasm (one thread, 4 GiB at most) or plain JavaScript; or auto: the first of these that is installed.",
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
      'Most memory that training may take: a size such as 8GB or 7.5GiB, or auto: nine tenths of what is free at the start. As far as needed, batches are cut into smaller parts, train.gradientCheckpointing is turned on, weights stay in the 16 bits that they are stored in until they are read, and graphs are compiled anew at each change of shape, which changes the result by rounding alone; what cannot fit is refused. Previews come on top. Default: no limit.',
    ),
});
