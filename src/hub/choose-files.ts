/** @file Which files of a repository make up a base model. */

import { UserError } from '../tensor/user-error.ts';
import { shown } from '../weights/file-error.ts';

/** What is needed of a repository. */
export interface NeededFiles {
  readonly kind: 'file' | 'folder';
  /** One path, or all of a folder in diffusers' layout. */
  readonly paths: readonly string[];
}

/** Parts of a Stable Diffusion model in diffusers' layout, with their weights' names. */
const parts: readonly { readonly folder: string; readonly stem: string; readonly isOptional: boolean }[] = [
  { folder: 'unet', stem: 'diffusion_pytorch_model', isOptional: false },
  { folder: 'vae', stem: 'diffusion_pytorch_model', isOptional: false },
  { folder: 'text_encoder', stem: 'model', isOptional: false },
  { folder: 'text_encoder_2', stem: 'model', isOptional: true },
]; // biome-ignore format: a table

const indexFile = 'model_index.json';
const schedulerFile = 'scheduler/scheduler_config.json';

/** Weights in one file or in several with their index; null where there are none or not all. */
function weightsOf(paths: ReadonlySet<string>, folder: string, stem: string): string[] | null {
  for (const variant of ['', '.fp16']) {
    const single = `${folder}/${stem}${variant}.safetensors`;
    if (paths.has(single)) return [single];
    const index = `${folder}/${stem}.safetensors.index${variant}.json`;
    const shard = new RegExp(
      `^${folder}/${stem}${variant.replace('.', '\\.')}-\\d{5}-of-(\\d{5})\\.safetensors$`,
    );
    const shards = [...paths].filter((path) => shard.test(path));
    const count = Number(shard.exec(shards[0] ?? '')?.[1]);
    if (paths.has(index) && shards.length > 0 && shards.length === count) return [index, ...shards];
  }
  return null;
}

function folderFiles(repo: string, paths: ReadonlySet<string>): string[] {
  return parts.flatMap(({ folder, stem, isOptional }) => {
    const config = `${folder}/config.json`;
    if (isOptional && !paths.has(config)) return [];
    const weights = weightsOf(paths, folder, stem);
    if (weights !== null && paths.has(config)) return [config, ...weights];
    const what = [...paths].some((path) => path.startsWith(`${folder}/`))
      ? 'no weights as .safetensors (pickles are not read)'
      : 'no such folder';
    throw new UserError(
      `${repo}: its ${folder} cannot be used: ${what}; is it a Stable Diffusion model? Choose another, or a single file with hub.file`,
    );
  });
}

/**
 * Chooses the files.
 * @param file the only one that is wanted, or null
 * @throws UserError where there is no model, or several to choose from
 */
export function chooseFiles(
  repo: string,
  all: readonly string[],
  file: string | null,
): NeededFiles {
  const paths = new Set(all);
  const models = all.filter((path) => /\.safetensors$/i.test(path) && !path.includes('/'));
  const listed = models.slice(0, 8).map(shown).join(', ');
  if (file !== null) {
    if (paths.has(file)) return { kind: 'file', paths: [file] };
    const has = models.length > 0 ? `it has ${listed}` : 'it has no .safetensors at its top';
    throw new UserError(`${repo}: there is no file ${shown(file)} in it; ${has}`);
  }
  if (paths.has(indexFile)) {
    const scheduler = paths.has(schedulerFile) ? [schedulerFile] : [];
    return { kind: 'folder', paths: [indexFile, ...scheduler, ...folderFiles(repo, paths)] };
  }
  if (models.length === 1) return { kind: 'file', paths: models };
  throw new UserError(
    models.length === 0
      ? `${repo}: there is no model in it that can be read: neither a .safetensors at its top nor a folder in diffusers' layout`
      : `${repo}: there are several models in it; name one as hub.file: ${listed}`,
  );
}
