/** @file Reads a LoRA, writes it in another form, and says what came of it. */

import { existsSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { convertAdapter } from '../../export/convert-adapter.ts';
import { type AdapterFormat, adapterFormats } from '../../export/names/tensor-keys.ts';
import { readAdapter } from '../../export/read-adapter.ts';
import { writeHashed } from '../../export/write-hashed.ts';
import { UserError } from '../../tensor/user-error.ts';
import { openSafetensors } from '../../weights/safetensors-file.ts';
import { plural } from '../format-units.ts';
import type { Terminal } from '../terminal.ts';

export interface ConvertOptions {
  readonly format: string;
  readonly output?: string | undefined;
  readonly 'fold-alpha': boolean;
  readonly force: boolean;
}

const familyNames = { sd1: 'Stable Diffusion 1.x', sd2: 'Stable Diffusion 2.x', sdxl: 'SDXL' };

async function convert(path: string, format: AdapterFormat, foldAlpha: boolean) {
  const file = await openSafetensors(path);
  try {
    const adapter = readAdapter(file);
    const converted = convertAdapter(adapter, file.metadata, { format, foldAlpha });
    return { ...converted, layers: adapter.layers.length };
  } finally {
    // Before it is replaced, which Windows does not do to an open file.
    file.close();
  }
}

/** Converts the file at `path`. */
export async function runConvert(
  path: string,
  { format: name, output, 'fold-alpha': foldAlpha, force }: ConvertOptions,
  terminal: Terminal,
): Promise<number> {
  const format = adapterFormats.find((known) => known === name);
  if (format === undefined) throw new Error(`internal: no form ${name}`);
  const beside = join(dirname(path), `${basename(path, extname(path))}-${format}.safetensors`);
  const target = output ?? beside;
  if (!target.endsWith('.safetensors')) {
    throw new UserError(`${target}: a name that ends with .safetensors is expected`, 2);
  }
  if (existsSync(target) && !force) {
    throw new UserError(
      `${target}: there is such a file; add --force to replace it, or --output with another name`,
    );
  }
  const { tensors, metadata, family, layers, scaleNotice } = await convert(path, format, foldAlpha);
  const hash = await writeHashed(target, tensors, metadata);
  const model = family === null ? '' : ` for ${familyNames[family]}`;
  terminal.print(`${target}: ${plural(layers, 'layer')}${model}, hash ${hash.slice(0, 12)}`);
  if (scaleNotice !== null) {
    terminal.complain(`${scaleNotice}; for them add --fold-alpha`);
  }
  return 0;
}
