/** @file `sdl-train train`, which is also `sdl-train` alone: trains the adapter of a configuration. */

import { configOptions, defineCommand } from './command.ts';

export const trainCommand = defineCommand({
  name: 'train',
  isDefault: true,
  summary: 'Train the adapter of a configuration, or go on with a run that was stopped',
  options: {
    ...configOptions,
    restart: {
      type: 'boolean',
      default: false,
      describe: 'Start anew where a stopped run could go on',
    },
  },
  examples: [
    ['$0 --config configs/character.yaml', 'train'],
    ['$0 --config FILE --set train.steps=50', 'with another value'],
    ['$0 check --config configs/character.yaml', 'look before training'],
    ['$0 inspect models/Lora/zibbo.safetensors', 'look at a file'],
  ],
  run: async (options, terminal) => {
    const { withConfig } = await import('./load-run-config.ts');
    return withConfig(options, terminal, async (loaded) => {
      const { runTraining } = await import('./run-training.ts');
      return runTraining(loaded, options.restart, terminal);
    });
  },
});
