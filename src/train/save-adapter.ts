/** @file Writes the adapter of a run, with what a web UI shows of it. */

import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { AdapterPrecision } from '../export/adapter-file.ts';
import { kohyaMetadata, type RunDescription, type SavePoint } from '../export/kohya-metadata.ts';
import type { AdapterFormat } from '../export/names/tensor-keys.ts';
import { writeCard } from '../export/sidecars.ts';
import { writeAdapter } from '../export/write-adapter.ts';
import type { LoraLayout } from '../lora/lora-layout.ts';
import { loraModules } from '../lora/lora-modules.ts';
import type { Executor } from '../runtime/executor.ts';

export interface SaveAdapterOptions {
  readonly path: string;
  readonly executor: Executor;
  readonly layouts: readonly LoraLayout[];
  readonly precision: AdapterPrecision;
  readonly format: AdapterFormat;
  readonly run: RunDescription;
  readonly savePoint: SavePoint;
  /** Writes `<name>.json` beside it; only the finished adapter has one. */
  readonly card: boolean;
}

const cardVersions = { sd1: 'SD1', sd2: 'SD2', sdxl: 'SDXL' } as const;

/** Strength that the card suggests: the one that it was trained with. */
const preferredWeight = 1;

/**
 * Writes the adapter, reads it back, and only then gives it its name.
 * @throws UserError where it cannot be written, or holds values that are not finite
 */
export async function saveAdapter(options: SaveAdapterOptions): Promise<void> {
  const { path, executor, layouts, precision, format, run, savePoint } = options;
  await mkdir(dirname(path), { recursive: true });
  const modules = layouts.flatMap((layout) =>
    loraModules(layout, executor.readVariable(layout.variable).data),
  );
  const naming = { format, family: run.family };
  const metadata = kohyaMetadata(run, savePoint);
  await writeAdapter({ path, modules, metadata, precision, naming });
  if (!options.card) return;
  await writeCard(path, {
    ...(run.description === null ? {} : { description: run.description }),
    sdVersion: cardVersions[run.family],
    activationText: run.triggerPhrase ?? '',
    preferredWeight,
  });
}
