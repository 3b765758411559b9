/** @file An executor of little memory: graphs whose values take more are refused as a device refuses them. */

import { peakValueBytes } from '../../src/graph/peak-bytes.ts';
import { type Executor, OutOfMemoryError } from '../../src/runtime/executor.ts';

/** @param bytes that the values of a graph may take at once */
export function withMemory(executor: Executor, bytes: number): Executor {
  return {
    name: executor.name,
    compile: async (graph, options) => {
      const executable = await executor.compile(graph, options);
      const needed = peakValueBytes(graph);
      return {
        run: async (feeds) => {
          if (needed > bytes) throw new OutOfMemoryError(`${needed} bytes are wanted`);
          return executable.run(feeds);
        },
        dispose: () => executable.dispose(),
      };
    },
    writeVariable: (name, value) => executor.writeVariable(name, value),
    readVariable: (name) => executor.readVariable(name),
    dispose: () => executor.dispose(),
  };
}
