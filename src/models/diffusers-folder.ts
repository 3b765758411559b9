/**
 * @file A base model as a folder of diffusers: each network in a folder of its own, under our names of
 * weights, beside configurations that say what tensors do not.
 */

import { UserError } from '../tensor/user-error.ts';
import { assembleCheckpoint, type Checkpoint, type CheckpointFile } from './checkpoint.ts';
import { families } from './families.ts';
import { inferClipSizes, inferNamedUnetSizes, inferVaeSizes } from './infer-sizes.ts';
import type { ModelFamily } from './model-family.ts';
import { type ModelHints, predictionNamed } from './model-hints.ts';
import type { HeadCounts } from './networks.ts';
import { type ModelSizes, type TextSizes, vaeFactor } from './sizes.ts';
import { vaeKeyCandidates } from './vae-keys.ts';

/** A JSON file's content. */
export type JsonConfig = Readonly<Record<string, unknown>>;

/** The files of a folder, open. */
export interface DiffusersFiles {
  readonly path: string;
  readonly unet: CheckpointFile;
  readonly textEncoder: CheckpointFile;
  readonly textEncoder2: CheckpointFile | null;
  readonly vae: CheckpointFile;
  /** Contents of the configurations; empty objects for those that are not there. */
  readonly configs: {
    readonly unet: JsonConfig;
    readonly textEncoder: JsonConfig;
    readonly textEncoder2: JsonConfig;
    /** Empty where the VAE is not the folder's. */
    readonly vae: JsonConfig;
    readonly scheduler: JsonConfig;
  };
}

const numbers = (value: unknown): readonly number[] =>
  Array.isArray(value) && value.every((one) => typeof one === 'number') ? value : [];

/** In diffusers, `attention_head_dim` is a number of heads, of all levels or of each. */
function headCounts({ configs }: DiffusersFiles): HeadCounts {
  const { unet, textEncoder, textEncoder2 } = configs;
  const said = unet['num_attention_heads'] ?? unet['attention_head_dim'];
  const levels = numbers(unet['block_out_channels']);
  const byLevel = typeof said === 'number' ? levels.map(() => said) : numbers(said);
  const text = [textEncoder, textEncoder2].flatMap((config) => {
    const { num_attention_heads: heads } = config;
    return typeof heads === 'number' ? [heads] : [];
  });
  const known = levels.length > 0 && levels.every((_, level) => byLevel[level]);
  return {
    unet: known ? (_, level) => byLevel[level]! : undefined,
    text: text.length > 0 ? text : undefined,
  };
}

function hintsOf({ configs }: DiffusersFiles, sizes: ModelSizes): ModelHints {
  const from = 'its scheduler_config.json';
  const { prediction_type: type, rescale_betas_zero_snr: zero } = configs.scheduler;
  const prediction = predictionNamed(type);
  const { sample_size: side } = configs.unet;
  return {
    prediction: prediction && { value: prediction, from },
    zeroTerminalSnr: typeof zero === 'boolean' ? { value: zero, from } : null,
    clipSkip: null,
    resolution: typeof side === 'number' ? side * vaeFactor(sizes.vae) : null,
  };
}

function familyOf({ unet, textEncoder2 }: ModelSizes & { textEncoder2: boolean }): ModelFamily {
  if (unet.additionChannels !== undefined || textEncoder2) return families.sdxl;
  return unet.linearProjection ? families.sd2 : families.sd1;
}

const activations = { quickGelu: 'quick_gelu', gelu: 'gelu' } as const;

/** Refuses a folder whose configurations say what the family's code does not do. */
function checkConfigs({ path, configs }: DiffusersFiles, family: ModelFamily): void {
  const encoders = [configs.textEncoder, configs.textEncoder2];
  for (const [i, { network, activation }] of family.textEncoders.entries()) {
    const { hidden_act: act } = encoders[i]!;
    if (act === undefined || act === activations[activation]) continue;
    throw new UserError(
      `${path}: the activation of its ${network} is ${String(act)}, ${family.name} has ${activations[activation]}; this model cannot be trained here`,
    );
  }
  const { scaling_factor: scale } = configs.vae;
  if (typeof scale === 'number' && Math.abs(scale - family.latentScale) > 1e-6) {
    throw new UserError(
      `${path}: its VAE scales latents by ${scale}, ${family.name} by ${family.latentScale}; this model cannot be trained here`,
    );
  }
}

function textSizes(file: CheckpointFile): TextSizes {
  const sizes = inferClipSizes(file.entries, file.path, 'text_model.');
  const projection = file.entries.get('text_projection.weight')?.shape[0];
  return projection === undefined ? sizes : { ...sizes, projection };
}

/**
 * Finds all weights of a folder's networks.
 * @throws UserError where weights are missing or misshapen, or the model is of no known family
 */
export function openDiffusersFolder(files: DiffusersFiles): Checkpoint {
  const { unet, textEncoder, textEncoder2, vae } = files;
  const { projection: _, ...text } = textSizes(textEncoder);
  const sizes: ModelSizes = {
    unet: inferNamedUnetSizes(unet.entries, unet.path),
    text,
    ...(textEncoder2 ? { text2: textSizes(textEncoder2) } : {}),
    vae: inferVaeSizes(vae.entries, vae.path),
  };
  const family = familyOf({ ...sizes, textEncoder2: textEncoder2 !== null });
  if (family.textEncoders.length === 2 && !textEncoder2) {
    throw new UserError(
      `${files.path}: there is no text_encoder_2 folder; an SDXL refiner cannot be trained, and SDXL needs it`,
    );
  }
  checkConfigs(files, family);
  const byNetwork: Readonly<Record<string, CheckpointFile>> = {
    unet,
    text_encoder: textEncoder,
    text_encoder_2: textEncoder2 ?? textEncoder,
    vae,
  };
  return assembleCheckpoint({
    family,
    sizes,
    heads: headCounts(files),
    hints: hintsOf(files, sizes),
    fileOf: (network) => byNetwork[network]!,
    keysOf: (network, path) => {
      if (network !== 'vae') return [{ key: path }];
      const dot = path.lastIndexOf('.');
      const [layer, part] = [path.slice(0, dot), path.slice(dot + 1)];
      const keys = vaeKeyCandidates(layer, part, sizes.vae.channels.length);
      // In a folder, diffusers' names are the usual ones.
      return [path, ...keys].map((key) => ({ key }));
    },
    isExtra: (key) => /position_ids$|logit_scale$|^text_projection\./.test(key),
  });
}
