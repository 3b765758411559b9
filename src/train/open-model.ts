/** @file Opens a base model wherever it lies: one checkpoint file, or a folder of diffusers. */

import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Checkpoint } from '../models/checkpoint.ts';
import { type JsonConfig, openDiffusersFolder } from '../models/diffusers-folder.ts';
import { openCheckpoint } from '../models/single-file.ts';
import { vocabularySize } from '../models/tokenizer-vocabulary.ts';
import { UserError } from '../tensor/user-error.ts';
import { openSafetensors, type SafetensorsFile } from '../weights/safetensors-file.ts';
import { openSharded, readJsonObject, type ShardedFile } from '../weights/sharded-file.ts';

/** An open base model with all its files. */
export interface OpenModel {
  readonly checkpoint: Checkpoint;
  /** The files of its weights but for a VAE given apart. */
  readonly files: readonly SafetensorsFile[];
  readonly vae: SafetensorsFile | null;
  close(): void;
}

const indexFile = 'model_index.json';

/** Pipelines that draw from text with a UNet; other classes are other models. */
const knownPipelines =
  /^(StableDiffusion|StableDiffusionXL|LatentConsistencyModel)(Img2Img)?Pipeline$/;

/** A checkpoint is a file; a folder is taken for one of diffusers. */
function isModelFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function checkIndex(folder: string): void {
  const path = join(folder, indexFile);
  if (!existsSync(path)) {
    throw new UserError(
      `${folder}: this folder has no ${indexFile}; give a checkpoint file, or a whole folder of diffusers`,
    );
  }
  const { _class_name: pipeline } = readJsonObject(path);
  if (typeof pipeline === 'string' && !knownPipelines.test(pipeline)) {
    throw new UserError(
      `${path}: this is a model for ${pipeline}; one for StableDiffusionPipeline or StableDiffusionXLPipeline is expected`,
    );
  }
}

async function openFolder(path: string, vaePath: string | null): Promise<OpenModel> {
  checkIndex(path);
  const opened: ShardedFile[] = [];
  const part = async (name: string, stem: string): Promise<ShardedFile> => {
    const file = await openSharded(join(path, name), stem);
    opened.push(file);
    return file;
  };
  const config = (name: string, file = 'config.json'): JsonConfig => {
    const where = join(path, name, file);
    return existsSync(where) ? readJsonObject(where) : {};
  };
  let vae: SafetensorsFile | null = null;
  const close = () => {
    for (const file of opened) file.close();
    vae?.close();
  };
  try {
    const unet = await part('unet', 'diffusion_pytorch_model');
    const textEncoder = await part('text_encoder', 'model');
    const hasSecond = existsSync(join(path, 'text_encoder_2'));
    const textEncoder2 = hasSecond ? await part('text_encoder_2', 'model') : null;
    if (vaePath !== null) vae = await openSafetensors(vaePath);
    const checkpoint = openDiffusersFolder({
      path,
      unet,
      textEncoder,
      textEncoder2,
      vae: vae ?? (await part('vae', 'diffusion_pytorch_model')),
      configs: {
        unet: config('unet'),
        textEncoder: config('text_encoder'),
        textEncoder2: config('text_encoder_2'),
        vae: vaePath === null ? config('vae') : {},
        scheduler: config('scheduler', 'scheduler_config.json'),
      },
    });
    return { checkpoint, files: opened.flatMap(({ files }) => files), vae, close };
  } catch (error) {
    close();
    throw error;
  }
}

async function openFile(path: string, vaePath: string | null): Promise<OpenModel> {
  const opened: SafetensorsFile[] = [];
  const close = () => {
    for (const file of opened) file.close();
  };
  try {
    const file = await openSafetensors(path);
    opened.push(file);
    const vae = vaePath === null ? null : await openSafetensors(vaePath);
    if (vae) opened.push(vae);
    const checkpoint = openCheckpoint(file, { vae: vae ?? undefined });
    return { checkpoint, files: [file], vae, close };
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * Opens a model, with a VAE in a file of its own where given.
 * @throws UserError where a file is missing, damaged, or of another kind
 */
export async function openModel(path: string, vaePath: string | null): Promise<OpenModel> {
  const model = await (isModelFolder(path) ? openFolder(path, vaePath) : openFile(path, vaePath));
  const { text, text2 } = model.checkpoint.sizes;
  const known = Math.min(text.vocabulary, text2?.vocabulary ?? vocabularySize);
  if (known >= vocabularySize) return model;
  model.close();
  throw new UserError(
    `${path}: its text encoder knows ${known} tokens, CLIP's tokenizer has ${vocabularySize}; use another checkpoint`,
  );
}
