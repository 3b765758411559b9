/** @file The files beside an adapter that a web UI shows: its card's texts and its picture. */

import { readFile } from 'node:fs/promises';
import { UserError } from '../tensor/user-error.ts';
import { writeFileAtomic } from '../weights/atomic-write.ts';
import { fileError } from '../weights/file-error.ts';

/** Texts of an adapter's card; what is left out stays as it is in the file. */
export interface AdapterCard {
  readonly description?: string;
  readonly sdVersion?: 'SD1' | 'SD2' | 'SDXL' | 'Unknown';
  /** Put into the prompt by a click on the card. */
  readonly activationText?: string;
  /** 0 for the web UI's default. */
  readonly preferredWeight?: number;
  readonly negativeText?: string;
  readonly notes?: string;
}

/** Names of the fields in AUTOMATIC1111's file, with the value of a new file. */
const fields: { readonly [K in keyof Required<AdapterCard>]: readonly [string, string | number] } =
  {
    description: ['description', ''],
    sdVersion: ['sd version', 'Unknown'],
    activationText: ['activation text', ''],
    preferredWeight: ['preferred weight', 0],
    negativeText: ['negative text', ''],
    notes: ['notes', ''],
  };

/** The path with another ending than `.safetensors`. */
function sidecarPath(adapterPath: string, ending: 'json' | 'png'): string {
  return `${adapterPath.replace(/\.safetensors$/i, '')}.${ending}`;
}

async function existingFields(path: string): Promise<Map<string, unknown>> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
    throw fileError(error, 'read', path);
  }
  try {
    const value: unknown = JSON.parse(text.replace(/^\uFEFF/, ''));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return new Map(Object.entries(value));
    }
  } catch {
    // Said below, as for a value that is no object.
  }
  throw new UserError(
    `${path}: this is not a JSON object, so the card's texts cannot be put into it; mend or remove it`,
  );
}

/** @throws UserError where the adapter's `<name>.json` is there and no card can be written to it */
export async function checkCard(adapterPath: string): Promise<void> {
  await existingFields(sidecarPath(adapterPath, 'json'));
}

/**
 * Writes `<name>.json` for the web UI's card. Fields of an existing file that are not given, or not
 * known here, are kept.
 * @param adapterPath of the `.safetensors` file
 * @returns the path of the file
 * @throws UserError where an existing file is no JSON object, or the disk fails
 */
export async function writeCard(adapterPath: string, card: AdapterCard): Promise<string> {
  const path = sidecarPath(adapterPath, 'json');
  const values = await existingFields(path);
  for (const key of Object.keys(fields) as (keyof AdapterCard)[]) {
    const [name, initial] = fields[key];
    const value = card[key];
    if (value !== undefined || !values.has(name)) values.set(name, value ?? initial);
  }
  await writeFileAtomic(path, Buffer.from(JSON.stringify(Object.fromEntries(values), null, 4)));
  return path;
}

/**
 * Writes `<name>.png`, the picture of the card.
 * @param adapterPath of the `.safetensors` file
 * @param png the bytes of a PNG file
 * @returns the path of the file
 */
export async function writePreview(adapterPath: string, png: Uint8Array): Promise<string> {
  if (Buffer.from(png.subarray(0, 4)).toString('latin1') !== '\x89PNG') {
    throw new Error('internal: a preview that is no PNG');
  }
  const path = sidecarPath(adapterPath, 'png');
  await writeFileAtomic(path, png);
  return path;
}
