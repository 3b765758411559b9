/** @file Tells what a model file holds from the names and shapes of its tensors. */

import type { Shape } from '../tensor/shape.ts';

/** The tensors of a file, as far as telling needs. */
export type TensorEntries = ReadonlyMap<string, { readonly shape: Shape }>;

export type FileKind =
  | 'sd1'
  | 'sd2'
  | 'sdxl'
  | 'sdxl-refiner'
  | 'inpainting'
  | 'instruct-pix2pix'
  | 'unclip'
  | 'sd3'
  | 'flux'
  | 'lora'
  | 'controlnet'
  | 'embedding'
  | 'vae'
  | 'diffusers-unet'
  | 'diffusers-text-encoder'
  | 'unknown';

/** A short name of each kind for messages. */
export const fileKindNames: { readonly [K in FileKind]: string } = {
  sd1: 'a Stable Diffusion 1.x checkpoint',
  sd2: 'a Stable Diffusion 2.x checkpoint',
  sdxl: 'an SDXL checkpoint',
  'sdxl-refiner': 'an SDXL refiner checkpoint',
  inpainting: 'an inpainting checkpoint, whose UNet takes 9 channels',
  'instruct-pix2pix': 'an InstructPix2Pix checkpoint, whose UNet takes 8 channels',
  unclip: 'an unCLIP checkpoint, which draws from pictures',
  sd3: 'a Stable Diffusion 3 checkpoint',
  flux: 'a Flux checkpoint',
  lora: 'a LoRA or another adapter, not a checkpoint',
  controlnet: 'a ControlNet',
  embedding: 'a textual-inversion embedding',
  vae: 'an autoencoder (VAE) alone',
  'diffusers-unet': 'the UNet part of a diffusers folder',
  'diffusers-text-encoder': 'the text-encoder part of a diffusers folder',
  unknown: 'no model that is known here',
};

const adapterKey =
  /^lora_|\.lora_(down|up|A|B|mid)\.|[._]lora(_linear_layer)?\.(down|up)\.|\.hada_w\d|\.lokr_w\d|\.oft_blocks|\.dora_scale$/;

const unet = 'model.diffusion_model.';

/** Channels that the UNet's first convolution takes, if there is a UNet. */
function unetInput(entries: TensorEntries): number | undefined {
  return entries.get(`${unet}input_blocks.0.0.weight`)?.shape[1];
}

type Test = (entries: TensorEntries, some: (test: (key: string) => boolean) => boolean) => boolean;

/** In order: the first that holds tells the kind. */
const tests: readonly (readonly [FileKind, Test])[] = [
  ['lora', (_, some) => some((key) => adapterKey.test(key))],
  ['controlnet', (_, some) => some((key) => /^control_model\.|^controlnet_/.test(key))],
  ['inpainting', (entries) => unetInput(entries) === 9],
  ['instruct-pix2pix', (entries) => unetInput(entries) === 8],
  ['sdxl', (_, some) => some((key) => key.startsWith('conditioner.embedders.1.'))],
  [
    'sdxl-refiner',
    (entries) =>
      entries.has('conditioner.embedders.0.model.ln_final.weight') &&
      entries.has(`${unet}label_emb.0.0.weight`),
  ],
  [
    'unclip',
    (entries, some) =>
      entries.has(`${unet}label_emb.0.0.weight`) &&
      some((key) => key.startsWith('cond_stage_model.')),
  ],
  ['sdxl', (entries) => entries.has(`${unet}label_emb.0.0.weight`)],
  [
    'sd2',
    (_, some) => some((key) => /^(cond_stage_model|conditioner\.embedders\.0)\.model\./.test(key)),
  ],
  ['sd1', (entries) => unetInput(entries) !== undefined],
  ['sd3', (_, some) => some((key) => key.includes('joint_blocks.'))],
  ['flux', (_, some) => some((key) => key.includes('double_blocks.'))],
  [
    'vae',
    (_, some) =>
      some((key) => /^(first_stage_model\.)?(encoder|decoder)\.conv_in\.weight$/.test(key)),
  ],
  ['diffusers-unet', (entries) => entries.has('time_embedding.linear_1.weight')],
  [
    'diffusers-text-encoder',
    (_, some) => some((key) => key.endsWith('embeddings.token_embedding.weight')),
  ],
  ['embedding', (_, some) => some((key) => /^(emb_params|string_to_param|clip_[lg]$)/.test(key))],
];

/** What a file with these tensors is. */
export function fileKind(entries: TensorEntries): FileKind {
  const keys = [...entries.keys()];
  const some = (test: (key: string) => boolean) => keys.some(test);
  return tests.find(([, test]) => test(entries, some))?.[0] ?? 'unknown';
}
