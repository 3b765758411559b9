/** @file The public API: train from a program, and read and write what training reads and writes. */

export { loadConfig } from './config/load-config.ts';
export type { UnsizedConfig as Config } from './config/resolve-config.ts';
export type { Executable, Executor, ParameterSource } from './runtime/executor.ts';
export { createOnnxExecutor } from './runtime/onnx/onnx-executor.ts';
export { createReferenceExecutor } from './runtime/reference/reference-executor.ts';
export { UserError } from './tensor/user-error.ts';
export { trainLora } from './train/train-lora.ts';
export type { TrainLoraOptions, TrainProgress, TrainResult } from './train/train-options.ts';
export { openSafetensors } from './weights/safetensors-file.ts';
export { writeSafetensors } from './weights/safetensors-writer.ts';
