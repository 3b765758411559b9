/** @file The executor that a configuration asks for; loaded only when it is needed. */

import type { Config } from '../config/resolve-config.ts';
import type { Executor, ParameterSource } from '../runtime/executor.ts';
import { UserError } from '../tensor/user-error.ts';

/** Makes executors that share nothing but their parameters. */
export type ExecutorFactory = (
  parameters: ParameterSource,
  options: { readonly flipWeights: boolean },
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

/** A factory for the executor of `device`. */
export function executorFactory({
  executor,
  provider,
  threads,
}: Config['device']): ExecutorFactory {
  return async (parameters, { flipWeights }) => {
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
      flipWeights,
      ...(threads === null ? {} : { threads }),
    });
  };
}
