/** @file `sdl-train doctor`: whether this machine can train, and what it would train on. */

import { configOptions, defineCommand } from './command.ts';

export const doctorCommand = defineCommand({
  name: 'doctor',
  summary: 'Say what this machine has: Node.js, engines, devices and their speed, memory',
  options: {
    config: configOptions.config,
    set: configOptions.set,
    'no-speed': { type: 'boolean', default: false, describe: 'Do not measure the devices' },
  },
  examples: [['$0 doctor --config configs/character.yaml', 'with the device of a configuration']],
  run: async (options, terminal) => {
    const { runDoctor } = await import('./doctor/run-doctor.ts');
    return runDoctor({ ...options, speed: !options['no-speed'] }, terminal);
  },
});
