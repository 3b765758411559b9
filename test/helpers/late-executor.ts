/** @file An executor whose results come when they are asked for, as those of a GPU do. */

import type { Executor } from '../../src/runtime/executor.ts';

/** The same executor; what a run gives is known, but only told by `read`. */
export function lateExecutor(executor: Executor): Executor {
  return {
    name: executor.name,
    compile: async (graph) => {
      const executable = await executor.compile(graph);
      return {
        run: (feeds) => executable.run(feeds),
        begin: async (feeds) => {
          const outputs = await executable.run(feeds);
          return {
            isOver: false,
            read: async () => {
              await new Promise((resolve) => setImmediate(resolve));
              return outputs;
            },
          };
        },
        dispose: () => executable.dispose(),
      };
    },
    writeVariable: (name, value) => executor.writeVariable(name, value),
    readVariable: (name) => executor.readVariable(name),
    dispose: () => executor.dispose(),
  };
}
