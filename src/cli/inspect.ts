/** @file `sdl-train inspect`: what is in a safetensors file. */

import { defineCommand } from './command.ts';

export const inspectCommand = defineCommand({
  name: 'inspect',
  summary: 'Say what a safetensors file is: a checkpoint, a LoRA, its rank, targets and metadata',
  argument: { name: 'file', describe: 'Any .safetensors file' },
  options: {
    metadata: { type: 'boolean', default: false, describe: 'Print all metadata in full' },
    tensors: { type: 'boolean', default: false, describe: 'List every tensor' },
    modules: { type: 'boolean', default: false, describe: 'List every layer that a LoRA changes' },
    json: { type: 'boolean', default: false, describe: 'Print JSON, for other programs' },
  },
  examples: [
    ['$0 inspect models/Lora/zibbo.safetensors', 'an overview'],
    ['$0 inspect zibbo.safetensors --json', 'everything, for a program'],
  ],
  run: async (options, terminal, file) => {
    const { runInspect } = await import('./inspect/run-inspect.ts');
    return runInspect(file, options, terminal);
  },
});
