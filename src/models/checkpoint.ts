/** @file A base model on disk: checked when it is opened, read tensor by tensor under our names. */

import type { DType } from '../tensor/dtype.ts';
import { isFiniteHalf, type StoredHalf } from '../tensor/half.ts';
import { type Shape, sameShape, sizeOf } from '../tensor/shape.ts';
import { UserError } from '../tensor/user-error.ts';
import { findNonFinite } from '../weights/non-finite.ts';
import type { ModelFamily, WeightKey } from './model-family.ts';
import type { ModelHints } from './model-hints.ts';
import type { HeadCounts, NetworkModel } from './networks.ts';
import type { ModelSizes } from './sizes.ts';
import { modelTensorShapes } from './tensor-shapes.ts';

/** What is needed of an open safetensors file. */
export interface CheckpointFile {
  readonly path: string;
  readonly entries: ReadonlyMap<
    string,
    { readonly dtype: DType | null; readonly stored: string; readonly shape: Shape }
  >;
  readonly metadata?: ReadonlyMap<string, string>;
  readF32Sync(key: string): Float32Array;
  /** The bits of a tensor that is stored as f16 or bf16. */
  readHalfSync(key: string): Uint16Array<ArrayBuffer>;
}

/** Where one weight lies. */
interface WeightPlace extends WeightKey {
  readonly file: CheckpointFile;
  /** Of the weight under our name, which may be a part of what is stored. */
  readonly shape: Shape;
}

/** A model on disk. A source of parameters for executors: `read` gives any weight. */
export interface Checkpoint extends NetworkModel {
  readonly sizes: ModelSizes;
  /** The weights of `shapes` with the file and key that hold them. */
  readonly places: ReadonlyMap<string, WeightPlace>;
  /** Keys of the checkpoint that no model of the family has; they are not used. */
  readonly unknownKeys: readonly string[];
  readonly hints: ModelHints;
  /**
   * The values of a weight.
   * @throws UserError where one of them is NaN or infinite
   */
  read(name: string): Float32Array;
  /** The weight in the 16-bit floats of its file; undefined where it is not stored so. */
  half(name: string): StoredHalf | undefined;
}

/** Where the weights of a model are to be found. */
export interface CheckpointSource {
  readonly family: ModelFamily;
  readonly sizes: ModelSizes;
  readonly hints: ModelHints;
  readonly heads?: HeadCounts | undefined;
  /** The file of a network: `unet`, `text_encoder`, `text_encoder_2` or `vae`. */
  fileOf(network: string): CheckpointFile;
  /** The keys under which a weight may lie in that file, the usual one first. */
  keysOf(network: string, path: string): readonly WeightKey[];
  /** Keys that are known, and of no use here. */
  isExtra(key: string): boolean;
}

const floats: ReadonlySet<string | null> = new Set(['f64', 'f32', 'f16', 'bf16']);

/** A shape without the two last dimensions of a 1x1 kernel. */
const asMatrix = (shape: Shape) =>
  shape.length === 4 && shape[2] === 1 && shape[3] === 1 ? shape.slice(0, 2) : shape;

/** The shape of what a key means, where its tensor has the shape `stored`. */
function meantShape(stored: Shape, { third, transposed }: WeightKey): Shape {
  const [first = 0, ...rest] = stored;
  if (third !== undefined) return [first / 3, ...rest];
  return transposed ? [...stored].reverse() : stored;
}

function listed(lines: readonly string[]): string {
  const rest = lines.length - 3;
  return lines.slice(0, 3).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

/** The first part of a weight's name, and the rest. */
function splitName(name: string): [network: string, path: string] {
  const dot = name.indexOf('.');
  return [name.slice(0, dot), name.slice(dot + 1)];
}

/** Finds each weight in its file; throws a UserError that lists what is missing or misshapen. */
function findWeights(
  expected: ReadonlyMap<string, Shape>,
  source: CheckpointSource,
): Map<string, WeightPlace> {
  const places = new Map<string, WeightPlace>();
  const missing: WeightPlace[] = [];
  const misshapen: [WeightPlace, Shape][] = [];
  const unreadable: [WeightPlace, string][] = [];
  for (const [name, shape] of expected) {
    const [network, path] = splitName(name);
    const file = source.fileOf(network);
    const keys = source.keysOf(network, path);
    const found = keys.find(({ key }) => file.entries.has(key));
    const entry = found && file.entries.get(found.key);
    if (!found || !entry) {
      missing.push({ file, ...keys[0]!, shape });
      continue;
    }
    const place = { file, ...found, shape: meantShape(entry.shape, found) };
    // A matrix may stand for a 1x1 convolution, and the other way round.
    if (!sameShape(asMatrix(place.shape), asMatrix(shape))) misshapen.push([place, shape]);
    if (!floats.has(entry.dtype)) unreadable.push([place, entry.stored]);
    places.set(name, place);
  }
  const fail = (file: CheckpointFile, what: string) =>
    new UserError(`${file.path}: ${what}; get the file again, or use another checkpoint`);
  if (missing[0]) {
    const keys = listed([...new Set(missing.map(({ key }) => key))]);
    throw fail(
      missing[0].file,
      `${missing.length} tensors of a ${source.family.name} model are missing: ${keys}`,
    );
  }
  if (misshapen[0]) {
    const lines = misshapen.map(
      ([{ key, shape }, want]) => `${key} is [${shape}], expected [${want}]`,
    );
    throw fail(misshapen[0][0].file, `tensors do not fit together: ${listed(lines)}`);
  }
  if (unreadable[0]) {
    const lines = unreadable.map(([{ key }, stored]) => `${key} is stored as ${stored}`);
    throw fail(unreadable[0][0].file, `weights are not in F32, F16 or BF16: ${listed(lines)}`);
  }
  return places;
}

/** Rows and columns exchanged. */
function transpose(values: Float32Array, [rows = 0, columns = 0]: Shape): Float32Array {
  const out = new Float32Array(values.length);
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < rows; j++) out[j * columns + i] = values[i * rows + j]!;
  }
  return out;
}

/** Those of a third of what is stored, or all. */
function thirdOf<T extends Float32Array | Uint16Array<ArrayBuffer>>(
  stored: T,
  { third, shape }: WeightPlace,
): T {
  const size = sizeOf(shape);
  return third === undefined ? stored : (stored.slice(third * size, (third + 1) * size) as T);
}

/** What is transposed, or not all numbers, is read as floats, and complained of there. */
function halfOf(place: WeightPlace): StoredHalf | undefined {
  const { file, key, transposed } = place;
  const { dtype } = file.entries.get(key)!;
  if (transposed || (dtype !== 'f16' && dtype !== 'bf16')) return undefined;
  return {
    type: dtype,
    read: () => {
      const bits = file.readHalfSync(key);
      if (!isFiniteHalf(bits, dtype)) readPlace(place);
      return thirdOf(bits, place);
    },
  };
}

function readPlace(place: WeightPlace): Float32Array {
  const { file, key, shape, third, transposed } = place;
  const stored = file.readF32Sync(key);
  const bad = findNonFinite(stored);
  if (bad >= 0) {
    throw new UserError(
      `${file.path}: the tensor ${key} holds ${stored[bad]} at index ${bad}; ` +
        'the checkpoint is damaged, use another copy of it',
    );
  }
  if (third !== undefined) return thirdOf(stored, place);
  return transposed ? transpose(stored, shape) : stored;
}

/**
 * Finds all weights of a model.
 * @throws UserError where weights are missing or misshapen
 */
export function assembleCheckpoint(source: CheckpointSource): Checkpoint {
  const { family, sizes, hints, heads } = source;
  const expected = modelTensorShapes(sizes);
  if (sizes.unet.inChannels !== sizes.vae.latentChannels) {
    throw new UserError(
      `${source.fileOf('unet').path}: its UNet takes ${sizes.unet.inChannels} channels, latents have ` +
        `${sizes.vae.latentChannels}: models for inpainting and the like cannot be trained; use the plain model`,
    );
  }
  const places = findWeights(expected, source);
  const known = new Set<string>();
  for (const name of expected.keys()) {
    for (const { key } of source.keysOf(...splitName(name))) known.add(key);
  }
  const files = new Set(
    ['unet', ...family.textEncoders.map(({ network }) => network)].map((n) => source.fileOf(n)),
  );
  return {
    family,
    sizes,
    hints,
    heads,
    shapes: new Map([...places].map(([name, { shape }]) => [name, shape])),
    places,
    unknownKeys: [...files].flatMap(({ entries }) =>
      [...entries.keys()].filter((key) => !known.has(key) && !source.isExtra(key)),
    ),
    read: (name) => {
      const place = places.get(name);
      if (!place) throw new Error(`internal: ${name} is no weight of this model`);
      return readPlace(place);
    },
    half: (name) => {
      const place = places.get(name);
      return place && halfOf(place);
    },
  };
}
