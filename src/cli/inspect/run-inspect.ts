/** @file Opens a file, and prints its page or its JSON. */

import { openSafetensors, type SafetensorsFile } from '../../weights/safetensors-file.ts';
import { formatTable, section } from '../format-table.ts';
import type { Terminal } from '../terminal.ts';
import { describeFile } from './describe-file.ts';
import { inspectPage, modulesTable } from './inspect-page.ts';
import { fullMetadata, plainText } from './readable-metadata.ts';

export interface InspectOptions {
  readonly metadata: boolean;
  readonly tensors: boolean;
  readonly modules: boolean;
  readonly json: boolean;
}

function tensorsTable(file: SafetensorsFile): string {
  const rows = Array.from(file.entries, ([name, { stored, shape }]) => [
    plainText(name),
    plainText(stored),
    `[${shape.join(', ')}]`,
  ]);
  return formatTable(rows, ['tensor', 'type', 'shape']);
}

function tensorsJson(file: SafetensorsFile) {
  return Array.from(file.entries, ([name, { stored, shape }]) => ({ name, type: stored, shape }));
}

/** JSON has no NaN and no infinity; they become texts. */
const finite = (_: string, value: unknown) =>
  typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;

/** Prints what is in the file at `path`. */
export async function runInspect(
  path: string,
  { metadata, tensors, modules, json }: InspectOptions,
  terminal: Terminal,
): Promise<number> {
  const file = await openSafetensors(path);
  try {
    const description = describeFile(file);
    if (json) {
      const content = tensors ? { ...description, tensors: tensorsJson(file) } : description;
      terminal.print(JSON.stringify(content, finite, 2));
      return 0;
    }
    const pages = [inspectPage(description)];
    if (modules && description.adapter) {
      pages.push(section('Layers', [modulesTable(description.adapter)]));
    }
    if (metadata) pages.push(section('All metadata', fullMetadata(description)));
    if (tensors) pages.push(section('Tensors', [tensorsTable(file)]));
    terminal.print(pages.join('\n\n'));
    return 0;
  } finally {
    file.close();
  }
}
