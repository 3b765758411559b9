/** @file An SD 1.x checkpoint: checked when it is opened, read tensor by tensor under our names. */

import type { DType } from '../../tensor/dtype.ts';
import { type Shape, sameShape } from '../../tensor/shape.ts';
import { UserError } from '../../tensor/user-error.ts';
import { findNonFinite } from '../../weights/non-finite.ts';
import { fileKind, fileKindNames } from '../file-kind.ts';
import { inferTextSizes, inferUnetSizes, inferVaeSizes } from './infer-sizes.ts';
import { sd1CheckpointKey, sd1KeyCandidates } from './key-map.ts';
import type { Sd1Sizes } from './sizes.ts';
import { sd1TensorShapes } from './tensor-shapes.ts';

/** What is needed of an open safetensors file. */
export interface CheckpointFile {
  readonly path: string;
  readonly entries: ReadonlyMap<
    string,
    { readonly dtype: DType | null; readonly stored: string; readonly shape: Shape }
  >;
  readF32Sync(key: string): Float32Array;
}

/** Where one weight lies. */
interface WeightPlace {
  readonly file: CheckpointFile;
  readonly key: string;
  readonly shape: Shape;
}

/** An SD 1.x model on disk. A source of parameters for executors: `read` gives any weight. */
export interface Sd1Checkpoint {
  readonly sizes: Sd1Sizes;
  /** Of every weight, by names such as `unet.conv_in.weight`. */
  readonly shapes: ReadonlyMap<string, Shape>;
  /** The same weights with the file and key that hold them. */
  readonly places: ReadonlyMap<string, WeightPlace>;
  /** Keys of the checkpoint that no SD 1.x model has; they are not used. */
  readonly unknownKeys: readonly string[];
  /**
   * The values of a weight.
   * @throws UserError where one of them is NaN or infinite
   */
  read(name: string): Float32Array;
}

/** Kept by published files beside the weights, and of no use here. */
const knownExtras =
  /^model_ema\.|^(model\.)?(alphas_|betas$|log_one_minus|posterior_|sqrt_|logvar$)|^denoiser\.|position_ids$|logit_scale$|text_projection|^first_stage_model\.(loss|model_ema)|^cond_stage_model\.transformer\.(vision_model|visual_projection)|^(global_step|epoch)$/;

const floats: ReadonlySet<string | null> = new Set(['f64', 'f32', 'f16', 'bf16']);

/** Whether a stored shape is the expected one, or that of the same 1x1 convolution as a matrix. */
function fits(stored: Shape, expected: Shape): boolean {
  const asMatrix = (shape: Shape) =>
    shape.length === 4 && shape[2] === 1 && shape[3] === 1 ? shape.slice(0, 2) : shape;
  return sameShape(asMatrix(stored), asMatrix(expected));
}

function listed(lines: readonly string[]): string {
  const rest = lines.length - 3;
  return lines.slice(0, 3).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

function checkKind({ path, entries }: CheckpointFile): void {
  const kind = fileKind(entries);
  if (kind === 'sd1') return;
  const advice: Partial<Record<typeof kind, string>> = {
    lora: 'give the checkpoint that it was trained on, not the LoRA, as base model',
    vae: 'give a whole SD 1.x checkpoint as base model; the autoencoder can be given beside it',
    'diffusers-unet':
      'give a single-file checkpoint, as web UIs load it, instead of a diffusers folder',
    'diffusers-text-encoder':
      'give a single-file checkpoint, as web UIs load it, instead of a diffusers folder',
  };
  throw new UserError(
    `${path}: this is ${fileKindNames[kind]}; an SD 1.x checkpoint is expected: ` +
      (advice[kind] ?? 'give a checkpoint based on Stable Diffusion 1.4 or 1.5 as base model'),
  );
}

/** Finds each weight in its file; throws a UserError that lists what is missing or misshapen. */
function findWeights(
  expected: ReadonlyMap<string, Shape>,
  sizes: Sd1Sizes,
  fileOf: (name: string) => CheckpointFile,
): Map<string, WeightPlace> {
  const places = new Map<string, WeightPlace>();
  const missing: WeightPlace[] = [];
  const misshapen: [WeightPlace, Shape][] = [];
  const unreadable: [WeightPlace, string][] = [];
  for (const [name, shape] of expected) {
    const file = fileOf(name);
    const keys = sd1KeyCandidates(name, sizes);
    const key = keys.find((candidate) => file.entries.has(candidate));
    const entry = key === undefined ? undefined : file.entries.get(key);
    if (key === undefined || !entry) {
      missing.push({ file, key: keys[0]!, shape });
      continue;
    }
    const place = { file, key, shape: entry.shape };
    if (!fits(entry.shape, shape)) misshapen.push([place, shape]);
    if (!floats.has(entry.dtype)) unreadable.push([place, entry.stored]);
    places.set(name, place);
  }
  const fail = (file: CheckpointFile, what: string) =>
    new UserError(`${file.path}: ${what}; get the file again, or use another checkpoint`);
  if (missing[0]) {
    const keys = listed(missing.map(({ key }) => key));
    throw fail(
      missing[0].file,
      `${missing.length} tensors of an SD 1.x model are missing: ${keys}`,
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

/**
 * Checks that a file is an SD 1.x checkpoint with all its weights, and finds them.
 *
 * @param file the checkpoint; it stays open as long as weights are read
 * @param options.vae a file to take the autoencoder from instead
 * @throws UserError where the file is of another kind, or weights are missing or misshapen
 */
export function openSd1Checkpoint(
  file: CheckpointFile,
  { vae }: { readonly vae?: CheckpointFile | undefined } = {},
): Sd1Checkpoint {
  checkKind(file);
  if (!vae && !file.entries.has('first_stage_model.decoder.conv_in.weight')) {
    throw new UserError(
      `${file.path}: this checkpoint has no autoencoder (VAE); give one in a file of its own, with \`vae\` in the configuration`,
    );
  }
  if (vae && !['vae', 'sd1'].includes(fileKind(vae.entries))) {
    const found = fileKindNames[fileKind(vae.entries)];
    throw new UserError(`${vae.path}: this is ${found}; an autoencoder (VAE) is expected`);
  }
  const vaeFile = vae ?? file;
  const sizes: Sd1Sizes = {
    unet: inferUnetSizes(file.entries, file.path),
    text: inferTextSizes(file.entries, file.path),
    vae: inferVaeSizes(vaeFile.entries, vaeFile.path),
  };
  const expected = sd1TensorShapes(sizes);
  const places = findWeights(expected, sizes, (name) => (name.startsWith('vae.') ? vaeFile : file));
  const used = new Set([...places.values()].map(({ key }) => key));
  const own = new Set([...expected.keys()].map((name) => sd1CheckpointKey(name, sizes)));
  return {
    sizes,
    shapes: new Map([...places].map(([name, { shape }]) => [name, shape])),
    places,
    unknownKeys: [...file.entries.keys()].filter(
      (key) => !used.has(key) && !own.has(key) && !knownExtras.test(key),
    ),
    read: (name) => {
      const place = places.get(name);
      if (!place) throw new Error(`internal: ${name} is no weight of an SD 1.x model`);
      const values = place.file.readF32Sync(place.key);
      const bad = findNonFinite(values);
      if (bad >= 0) {
        throw new UserError(
          `${place.file.path}: the tensor ${place.key} holds ${values[bad]} at index ${bad}; ` +
            'the checkpoint is damaged, use another copy of it',
        );
      }
      return values;
    },
  };
}
