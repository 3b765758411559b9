/** @file Finds where a web UI keeps its LoRAs and checkpoints, from its root folder. */

import { existsSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { UserError } from '../tensor/user-error.ts';

/** The folders of a web UI; they need not exist yet. */
export interface WebUiFolders {
  /** `folder` is a place with `models/Lora` that is none of the known programs. */
  readonly kind: 'a1111' | 'forge' | 'comfyui' | 'folder';
  readonly lora: string;
  readonly checkpoints: string;
  readonly vae: string;
}

const isFolder = (...parts: string[]) =>
  statSync(join(...parts), { throwIfNoEntry: false })?.isDirectory() ?? false;
const isThere = (...parts: string[]) => existsSync(join(...parts));

/** Where packages that can be unzipped and run keep the program, below their own folder. */
const innerFolders = ['.', 'webui', 'ComfyUI', 'stable-diffusion-webui'];

function webUiAt(root: string): WebUiFolders | null {
  const models = join(root, 'models');
  const a1111 = (kind: WebUiFolders['kind']): WebUiFolders => ({
    kind,
    lora: join(models, 'Lora'),
    checkpoints: join(models, 'Stable-diffusion'),
    vae: join(models, 'VAE'),
  });
  if (isFolder(root, 'comfy') && isThere(root, 'main.py')) {
    return {
      kind: 'comfyui',
      lora: join(models, 'loras'),
      checkpoints: join(models, 'checkpoints'),
      vae: join(models, 'vae'),
    };
  }
  const isWebUi = isThere(root, 'webui.py') || isThere(root, 'launch.py');
  if (isWebUi && (isFolder(root, 'modules') || isFolder(models, 'Stable-diffusion'))) {
    return a1111(isFolder(root, 'modules_forge') ? 'forge' : 'a1111');
  }
  return isFolder(models, 'Lora') ? a1111('folder') : null;
}

/**
 * The folders of the web UI that is installed in `root`.
 * @param root of AUTOMATIC1111's web UI, Forge or ComfyUI, of a portable package of one, or any
 *   folder with `models/Lora`
 * @throws UserError where there is none
 */
export function findLoraFolder(root: string): WebUiFolders {
  for (const inner of innerFolders) {
    const found = webUiAt(resolve(root, inner));
    if (found) return found;
  }
  if (!isThere(root)) throw new UserError(`${root}: there is no such folder; check the path`, 2);
  const parent = dirname(resolve(root));
  const hint =
    basename(parent).toLowerCase() === 'models'
      ? `give the folder above models, ${dirname(parent)}`
      : 'give the folder that has webui.py, or main.py and comfy, or models/Lora in it';
  throw new UserError(`${root}: no web UI is installed here; ${hint}`, 2);
}
