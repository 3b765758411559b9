/** @file A checkpoint in one file, as web UIs load it: which family it is of, and where its weights lie. */

import { UserError } from '../tensor/user-error.ts';
import { assembleCheckpoint, type Checkpoint, type CheckpointFile } from './checkpoint.ts';
import { families } from './families.ts';
import { type FileKind, fileKind, fileKindNames } from './file-kind.ts';
import { inferUnetSizes, inferVaeSizes } from './infer-sizes.ts';
import type { FamilyId, ModelFamily, WeightKey } from './model-family.ts';
import { foreignProcess, modelHints } from './model-hints.ts';
import type { ModelSizes } from './sizes.ts';
import { unetKey } from './unet-keys.ts';
import { vaeKeyCandidates } from './vae-keys.ts';

const unetPrefix = 'model.diffusion_model.';

/** Kept by published files beside the weights, and of no use here. */
const knownExtras =
  /^model_ema\.|^(model\.)?(alphas_|betas$|log_one_minus|posterior_|sqrt_|logvar$)|^denoiser\.|position_ids$|^first_stage_model\.(loss|model_ema)|(^|\.)(v_pred|ztsnr)$|^(global_step|epoch)$/;

const isFamily = (kind: FileKind): kind is FamilyId => kind in families;

const advice: Partial<Record<FileKind, string>> = {
  lora: 'give the checkpoint that it was trained on, not the LoRA, as base model',
  vae: 'give a whole checkpoint as base model; the autoencoder can be given beside it',
  inpainting: 'give the plain model that it was made from as base model',
  'diffusers-unet': 'give the whole diffusers folder, where model_index.json is, as base model',
  'diffusers-text-encoder':
    'give the whole diffusers folder, where model_index.json is, as base model',
};

/**
 * The family of a checkpoint.
 * @throws UserError where it is of none
 */
function familyOf({ path, entries }: CheckpointFile): ModelFamily {
  const kind = fileKind(entries);
  if (isFamily(kind)) return families[kind];
  const names = Object.values(families).map(({ name }) => name);
  throw new UserError(
    `${path}: this is ${fileKindNames[kind]}; a checkpoint of ${names.slice(0, -1).join(', ')} or ${names.at(-1)} ` +
      `is expected: ${advice[kind] ?? 'give one of these as base model'}`,
  );
}

/** @throws UserError where there is no autoencoder, or the file given for it is something else */
function checkVae(file: CheckpointFile, vae: CheckpointFile | undefined): void {
  if (!vae && !file.entries.has('first_stage_model.decoder.conv_in.weight')) {
    throw new UserError(
      `${file.path}: this checkpoint has no autoencoder (VAE); give one in a file of its own, with \`vae\` in the configuration`,
    );
  }
  const kind = vae && fileKind(vae.entries);
  if (!vae || kind === 'vae' || (kind && isFamily(kind))) return;
  throw new UserError(
    `${vae.path}: this is ${fileKindNames[kind!]}; an autoencoder (VAE) is expected`,
  );
}

/** `path` ends with `.weight` or `.bias`. */
function keysOf(
  { textKeys }: ModelFamily,
  { unet, vae }: ModelSizes,
  network: string,
  path: string,
): readonly WeightKey[] {
  const dot = path.lastIndexOf('.');
  const [layer, part] = [path.slice(0, dot), path.slice(dot + 1)];
  if (network === 'unet') return [{ key: `${unetPrefix}${unetKey(layer, unet)}.${part}` }];
  if (network !== 'vae') return textKeys(network, path);
  return vaeKeyCandidates(layer, part, vae.channels.length).map((key) => ({ key }));
}

/** The key in a checkpoint of a weight such as `unet.conv_in.weight`. */
export function checkpointKey(family: ModelFamily, name: string, sizes: ModelSizes): WeightKey {
  const [, network, path] =
    /^(unet|text_encoder(?:_2)?|vae)\.(.+\.(?:weight|bias))$/.exec(name) ?? [];
  if (!network || !path) throw new Error(`internal: ${name} is no name of a weight`);
  return keysOf(family, sizes, network, path)[0]!;
}

/**
 * Checks that a file is a checkpoint of a known family with all its weights, and finds them.
 *
 * @param file the checkpoint; it stays open as long as weights are read
 * @param options.vae a file to take the autoencoder from instead
 * @throws UserError where the file is of another kind, or weights are missing or misshapen
 */
export function openCheckpoint(
  file: CheckpointFile,
  { vae }: { readonly vae?: CheckpointFile | undefined } = {},
): Checkpoint {
  const family = familyOf(file);
  checkVae(file, vae);
  const foreign = foreignProcess(file);
  if (foreign !== null) {
    throw new UserError(
      `${file.path}: its key ${foreign} says that it was trained with EDM's noise levels, which cannot be trained here; use another checkpoint`,
    );
  }
  const vaeFile = vae ?? file;
  const sizes: ModelSizes = {
    unet: inferUnetSizes(file.entries, file.path),
    ...family.inferTextSizes(file.entries, file.path),
    vae: inferVaeSizes(vaeFile.entries, vaeFile.path),
  };
  return assembleCheckpoint({
    family,
    sizes,
    hints: modelHints(file),
    fileOf: (network) => (network === 'vae' ? vaeFile : file),
    keysOf: (network, path) => keysOf(family, sizes, network, path),
    isExtra: (key) => knownExtras.test(key) || family.unusedText.test(key),
  });
}
