/** @file Reads a LoRA file of any trainer: its layers under one set of names, with factors and scales. */

import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Tensor } from '../tensor/tensor.ts';
import { UserError } from '../tensor/user-error.ts';
import { fileError, oneLine, shown } from '../weights/file-error.ts';
import type { SafetensorsFile } from '../weights/safetensors-file.ts';
import { readScales, scalesKey } from './adapter-scales.ts';
import type { LayerName, ReadLayerName } from './names/layer-name.ts';
import { readKey, type TensorRole } from './names/tensor-keys.ts';

/** One adapted layer as a file holds it. */
export interface AdapterLayer {
  readonly layer: LayerName;
  /** `[r, in]` or `[r, in, kh, kw]`, in the file's dtype. */
  readonly down: Tensor;
  /** `[out, r]` or `[out, r, 1, 1]`. */
  readonly up: Tensor;
  /** Null where the file has none, which means the rank. */
  readonly alpha: number | null;
}

/** An adapter. */
export interface ReadAdapter {
  /** In the order of the file. */
  readonly layers: readonly AdapterLayer[];
  /** Whether names tell that it is for SDXL; its other names may be those of any model. */
  readonly hasSdxlNames: boolean;
}

interface LayerTensors {
  readonly layer: ReadLayerName;
  readonly keys: Map<TensorRole, string>;
}

/** Parts of tensors' names that tell other ways to adapt a layer, and what they are called. */
const otherKinds: readonly (readonly [RegExp, string])[] = [
  [/\.hada_w/, 'LoHa'],
  [/\.lokr_w/, 'LoKr'],
  [/\.oft_|\.boft_/, 'OFT'],
  [/dora_scale|lora_magnitude_vector/, 'DoRA'],
  [/\.lora_mid\./, 'LoCon with a third factor (Tucker, CP)'],
  [/\.diff(_b)?$|\.set_weight$/, 'adapter with whole weights'],
];

const otherModels =
  /double_blocks|single_blocks|joint_blocks|single_transformer|^transformer\.|^lora_transformer_|diffusion_model\.layers|lora_te3_/;

const listed = (keys: readonly string[]) =>
  keys.slice(0, 3).map(shown).join(', ') + (keys.length > 3 ? ', …' : '');

/** Why a file with these keys is not converted. */
function refusal(foreign: readonly string[], all: readonly string[]): string {
  const kind = otherKinds.find(([pattern]) => all.some((key) => pattern.test(key)))?.[1];
  if (kind) return `this is a ${kind}, not a plain LoRA, and is not converted`;
  if (all.some((key) => otherModels.test(key))) {
    return 'this adapter is for another model than Stable Diffusion 1.x, 2.x or SDXL, and is not converted';
  }
  if (foreign.length === all.length) {
    return 'this is no LoRA: none of its tensors is a factor of one; give the file of a LoRA (see `sdl-train inspect`)';
  }
  return (
    `${foreign.length} of its ${all.length} tensors belong to no layer of Stable Diffusion 1.x, 2.x or SDXL, ` +
    `so it is not converted: ${listed(foreign)}`
  );
}

function groupByLayer(file: SafetensorsFile, bad: (what: string) => UserError) {
  const layers = new Map<string, LayerTensors>();
  const foreign: string[] = [];
  const all = [...file.entries.keys()];
  for (const key of all) {
    const { layer, role } = readKey(key);
    if (layer === null || role === null) {
      foreign.push(key);
      continue;
    }
    const name = `${layer.network}.${layer.path}`;
    const found = layers.get(name) ?? { layer, keys: new Map<TensorRole, string>() };
    if (found.keys.has(role)) {
      throw bad(`${shown(found.keys.get(role)!)} and ${shown(key)} are the same; remove one`);
    }
    found.keys.set(role, key);
    layers.set(name, found);
  }
  if (foreign.length > 0 || all.length === 0) throw bad(refusal(foreign, all));
  return [...layers.values()];
}

const floats = new Set(['f64', 'f32', 'f16', 'bf16']);

function readFactor(file: SafetensorsFile, key: string, bad: (what: string) => UserError): Tensor {
  const tensor = file.readSync(key);
  if (floats.has(tensor.dtype)) return tensor;
  throw bad(`${shown(key)} is stored as ${tensor.dtype}; F32, F16 or BF16 is expected`);
}

function checkShapes({ down, up, layer }: AdapterLayer, bad: (what: string) => UserError): void {
  const [rank, , ...kernel] = down.shape;
  const [, upRank, ...upKernel] = up.shape;
  const sound =
    (kernel.length === 0 || kernel.length === 2) &&
    down.shape.length === up.shape.length &&
    rank === upRank &&
    !down.shape.includes(0) &&
    !up.shape.includes(0) &&
    upKernel.every((d) => d === 1);
  if (sound) return;
  const shapes = `[${down.shape}] and [${up.shape}]`;
  throw bad(`the factors of ${layer.network}.${layer.path} are ${shapes}, which do not fit`);
}

function readAlpha(
  file: SafetensorsFile,
  key: string | undefined,
  bad: (what: string) => UserError,
): number | null {
  if (key === undefined) return null;
  const values = file.readF32Sync(key);
  const value = values[0];
  if (values.length !== 1 || !Number.isFinite(value)) {
    throw bad(`${shown(key)} is no number, but ${values.length} values from ${value}`);
  }
  return value!;
}

/** The configuration of PEFT that goes with a file: in its metadata, or in its folder. */
function scalesOf(file: SafetensorsFile) {
  const inside = file.metadata.get(scalesKey);
  if (inside !== undefined) return readScales(inside, scalesKey);
  const beside = join(dirname(file.path), 'adapter_config.json');
  // PEFT's own files come as a pair; elsewhere the neighbour is another file's.
  if (basename(file.path) !== 'adapter_model.safetensors' || !existsSync(beside)) return null;
  try {
    return readScales(readFileSync(beside, 'utf8'), 'adapter_config.json');
  } catch (error) {
    throw fileError(error, 'read', beside);
  }
}

/**
 * Reads all layers of an open adapter, in any mixture of the forms.
 * @throws UserError where it is no LoRA, is damaged, or has tensors that have no name elsewhere
 */
export function readAdapter(file: SafetensorsFile): ReadAdapter {
  const bad = (what: string) => new UserError(`${oneLine(file.path)}: ${what}`);
  const grouped = groupByLayer(file, bad);
  let scales: ReturnType<typeof scalesOf>;
  const alphaFrom = (layer: LayerName, rank: number) => {
    try {
      scales ??= scalesOf(file);
      return scales?.(layer, rank) ?? null;
    } catch (error) {
      throw error instanceof UserError ? bad(error.message) : error;
    }
  };
  const layers = grouped.map(({ layer: { network, path }, keys }): AdapterLayer => {
    const [downKey, upKey] = [keys.get('down'), keys.get('up')];
    if (downKey === undefined || upKey === undefined) {
      const there = [...keys.values()].map(shown).join(', ');
      throw bad(
        `${network}.${path} has ${there} alone; both factors are needed, so get the file again`,
      );
    }
    const layer = { network, path };
    const down = readFactor(file, downKey, bad);
    const up = readFactor(file, upKey, bad);
    const inFile = readAlpha(file, keys.get('alpha'), bad);
    const read = { layer, down, up, alpha: inFile ?? alphaFrom(layer, down.shape[0] ?? 0) };
    checkShapes(read, bad);
    return read;
  });
  return { layers, hasSdxlNames: grouped.some(({ layer }) => layer.isSdxl) };
}
