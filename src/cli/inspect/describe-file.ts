/** @file Everything that `inspect` tells of a file, as plain values: the content of `--json`. */

import { families } from '../../models/families.ts';
import { type FileKind, fileKind, fileKindNames } from '../../models/file-kind.ts';
import { openCheckpoint } from '../../models/single-file.ts';
import type { ModelSizes } from '../../models/sizes.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { UserError } from '../../tensor/user-error.ts';
import { sshsModelHash } from '../../weights/hashes.ts';
import type { SafetensorsFile } from '../../weights/safetensors-file.ts';
import { adapterModules, type InspectedAdapter } from './adapter-modules.ts';

/** Tensors and values of one stored type, or of one part of a model. */
export interface Tally {
  readonly name: string;
  readonly tensors: number;
  readonly parameters: number;
  readonly bytes: number;
}

/** A file as `inspect` sees it. */
export interface FileDescription {
  readonly path: string;
  readonly bytes: number;
  readonly kind: FileKind | 'state';
  /** In words. */
  readonly kindName: string;
  /** The base models that it is, or fits; null where nothing tells. */
  readonly family: string | null;
  readonly total: Tally;
  readonly types: readonly Tally[];
  /** Of a checkpoint: UNet, text encoder, VAE and the rest. */
  readonly parts: readonly Tally[];
  /** Of a checkpoint that is whole. */
  readonly sizes: ModelSizes | null;
  /** Why a checkpoint cannot be trained on, or null. */
  readonly fault: string | null;
  readonly adapter: InspectedAdapter | null;
  /** Whether the hash in the metadata is that of the data; null where there is none. */
  readonly hashMatches: boolean | null;
  readonly metadata: Readonly<Record<string, string>>;
}

const partPrefixes: readonly (readonly [RegExp, string])[] = [
  [/^model_ema\./, 'EMA copy'],
  [/^(model\.diffusion_model|unet)\./, 'UNet'],
  [/^(cond_stage_model|conditioner|text_encoders?(_2)?|te)\./, 'text encoder'],
  [/^(first_stage_model|vae)\./, 'VAE'],
];

function tally(file: SafetensorsFile, nameOf: (key: string, stored: string) => string): Tally[] {
  const tallies = new Map<string, { tensors: number; parameters: number; bytes: number }>();
  for (const [key, { stored, shape, begin, end }] of file.entries) {
    const name = nameOf(key, stored);
    const sum = tallies.get(name) ?? { tensors: 0, parameters: 0, bytes: 0 };
    sum.tensors++;
    sum.parameters += sizeOf(shape);
    sum.bytes += end - begin;
    tallies.set(name, sum);
  }
  return Array.from(tallies, ([name, sum]) => ({ name, ...sum })).sort((a, b) => b.bytes - a.bytes);
}

/** Channels of the text that cross-attention reads, in each family. */
const familyOfContext: Readonly<Record<number, string>> = {
  768: 'Stable Diffusion 1.x',
  1024: 'Stable Diffusion 2.x',
  2048: 'SDXL',
};

const familyOfVersion: readonly (readonly [RegExp, string])[] = [
  [/sdxl|stable-diffusion-xl/, 'SDXL'],
  [/sd_?v2|stable-diffusion-v2/, 'Stable Diffusion 2.x'],
  [/sd_?v1|stable-diffusion-v1/, 'Stable Diffusion 1.x'],
  [/flux/, 'Flux'],
  [/sd3|stable-diffusion-3/, 'Stable Diffusion 3'],
];

function familyOf(file: SafetensorsFile, adapter: InspectedAdapter | null, kind: FileKind) {
  if (adapter === null) {
    const families: Partial<Record<FileKind, string>> = {
      sd1: 'Stable Diffusion 1.x',
      sd2: 'Stable Diffusion 2.x',
      sdxl: 'SDXL',
      sd3: 'Stable Diffusion 3',
      flux: 'Flux',
    };
    return families[kind] ?? null;
  }
  const said = ['modelspec.architecture', 'ss_base_model_version', 'sd version']
    .map((key) => file.metadata.get(key) ?? '')
    .join(' ')
    .toLowerCase();
  const named = familyOfVersion.find(([pattern]) => pattern.test(said))?.[1];
  const channels = adapter.contextChannels;
  return named ?? (channels === null ? null : (familyOfContext[channels] ?? null));
}

/** The sizes of a checkpoint, or what is wrong with it. */
function modelOf(file: SafetensorsFile): Pick<FileDescription, 'sizes' | 'fault'> {
  try {
    return { sizes: openCheckpoint(file).sizes, fault: null };
  } catch (error) {
    if (error instanceof UserError) return { sizes: null, fault: error.message };
    throw error;
  }
}

/** Larger files are not read whole to compare a hash. */
const hashedBytes = 2e9;

function hashMatches(file: SafetensorsFile): boolean | null {
  const said = file.metadata.get('sshs_model_hash');
  if (said === undefined || file.size > hashedBytes) return null;
  return sshsModelHash(file.dataSlices()) === said.toLowerCase();
}

/** Looks at an open file. The factors of an adapter are read, the weights of a checkpoint are not. */
export function describeFile(file: SafetensorsFile): FileDescription {
  const found = fileKind(file.entries);
  const isState = file.metadata.has('sdl-train.state');
  const adapter = found === 'lora' && !isState ? adapterModules(file) : null;
  const [total] = tally(file, () => 'all');
  const checkpoint = ['sd1', 'sd2', 'sdxl', 'inpainting', 'instruct-pix2pix'].includes(found);
  const partOf = (key: string) => partPrefixes.find(([prefix]) => prefix.test(key))?.[1] ?? 'other';
  const lora = adapter === null ? null : `a ${adapter.kind} (${adapter.format} names)`;
  return {
    path: file.path,
    bytes: file.size,
    kind: isState ? 'state' : found,
    kindName: isState ? 'the state of a run of sdl-train' : (lora ?? fileKindNames[found]),
    family: isState ? null : familyOf(file, adapter, found),
    total: total ?? { name: 'all', tensors: 0, parameters: 0, bytes: 0 },
    types: tally(file, (_, stored) => stored),
    parts: checkpoint ? tally(file, partOf) : [],
    ...(found in families && !isState ? modelOf(file) : { sizes: null, fault: null }),
    adapter,
    hashMatches: hashMatches(file),
    metadata: Object.fromEntries(file.metadata),
  };
}
