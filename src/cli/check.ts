/** @file `sdl-train check`: everything that can be known of a run without training. */

import { configOptions, defineCommand } from './command.ts';

export const checkCommand = defineCommand({
  name: 'check',
  summary: 'Look at the base, the images and the captions of a configuration, without training',
  options: {
    ...configOptions,
    all: {
      type: 'boolean',
      default: false,
      describe: 'List every image and caption, however many',
    },
    deep: {
      type: 'boolean',
      default: false,
      describe: 'Also read all weights of the base and look for NaN',
    },
  },
  examples: [
    ['$0 check --config configs/character.yaml', 'before the first run'],
    ['$0 check --config FILE --deep', 'weights too'],
  ],
  run: async (options, terminal) => {
    const { withConfig } = await import('./load-run-config.ts');
    return withConfig(options, terminal, async (loaded) => {
      const { runCheck } = await import('./check/run-check.ts');
      return runCheck(loaded, options, terminal);
    });
  },
});
