/** @file `sdl-train convert`: a LoRA file in another form. */

import { defineCommand } from './command.ts';

export const convertCommand = defineCommand({
  name: 'convert',
  summary: "Write a LoRA under the names of kohya's tools and web UIs, of diffusers, or of PEFT",
  argument: { name: 'file', describe: 'A LoRA of any of these forms, also of other trainers' },
  options: {
    format: {
      type: 'string',
      choices: ['kohya', 'diffusers', 'peft'],
      demandOption: true,
      describe: 'The form to write',
    },
    output: {
      type: 'string',
      requiresArg: true,
      describe: 'File to write. Default: beside the other, with the form behind its name',
    },
    'fold-alpha': {
      type: 'boolean',
      default: false,
      describe: 'Put alpha / rank into the weights, for readers that know no alpha in this form',
    },
    force: { type: 'boolean', default: false, describe: 'Replace a file that is there' },
  },
  examples: [['$0 convert pytorch_lora_weights.safetensors --format kohya', 'for a web UI']],
  run: async (options, terminal, file) => {
    const { runConvert } = await import('./convert/run-convert.ts');
    return runConvert(file, options, terminal);
  },
});
