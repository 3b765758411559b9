/** @file The part of the schema that says how a base on the Hugging Face hub is got. */

import { z } from 'zod';
import { revisionPattern } from './hub-id.ts';

const text = () => z.string().min(1);

/** `hub` of a configuration file. */
export const hubSection = z.strictObject({
  file: text()
    .nullable()
    .default(null)
    .describe(
      "The .safetensors file to take from the hub's model. Default: the only one, or the folder in diffusers' layout.",
    ),
  revision: z
    .string()
    .regex(revisionPattern, 'a branch, a tag, or the 40 digits of a commit')
    .nullable()
    .default(null)
    .describe('Branch, tag or commit of the model. Default: main.'),
  token: text()
    .nullable()
    .default(null)
    .describe(
      'Access token, for private and gated models. Better kept out of files: default is HF_TOKEN, or the one of `hf auth login`.',
    ),
  cacheDir: text()
    .nullable()
    .default(null)
    .describe(
      "Folder of downloads, shared with Hugging Face's own tools. Default: HF_HUB_CACHE, or hub in HF_HOME (~/.cache/huggingface).",
    ),
});
