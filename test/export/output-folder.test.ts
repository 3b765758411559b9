/** @file The folders of web UIs are found from their root. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { expect, test } from 'vitest';
import { findLoraFolder } from '../../src/export/output-folder.ts';
import { UserError } from '../../src/tensor/user-error.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';

const at = temporaryFolder();

/** Makes empty files, and folders for names that end with a slash. */
function tree(...names: string[]): void {
  for (const name of names) {
    const path = at(name);
    mkdirSync(name.endsWith('/') ? path : dirname(path), { recursive: true });
    if (!name.endsWith('/')) writeFileSync(path, '');
  }
}

test('AUTOMATIC1111, freshly cloned: models/Lora need not exist', () => {
  tree('webui.py', 'launch.py', 'modules/', 'models/Stable-diffusion/');
  expect(findLoraFolder(at())).toEqual({
    kind: 'a1111',
    lora: at('models', 'Lora'),
    checkpoints: at('models', 'Stable-diffusion'),
    vae: at('models', 'VAE'),
  });
});

test('Forge', () => {
  tree('webui.py', 'modules/', 'modules_forge/', 'models/Stable-diffusion/');
  expect(findLoraFolder(at())).toMatchObject({ kind: 'forge', lora: at('models', 'Lora') });
});

test('ComfyUI', () => {
  tree('main.py', 'comfy/', 'models/checkpoints/', 'models/loras/');
  expect(findLoraFolder(at())).toEqual({
    kind: 'comfyui',
    lora: at('models', 'loras'),
    checkpoints: at('models', 'checkpoints'),
    vae: at('models', 'vae'),
  });
});

test('portable packages', () => {
  tree('a/webui/launch.py', 'a/webui/modules/', 'b/ComfyUI/main.py', 'b/ComfyUI/comfy/');
  expect(findLoraFolder(at('a')).lora).toBe(at('a', 'webui', 'models', 'Lora'));
  expect(findLoraFolder(at('b')).lora).toBe(at('b', 'ComfyUI', 'models', 'loras'));
});

test('any folder with models/Lora', () => {
  tree('models/Lora/');
  expect(findLoraFolder(at())).toMatchObject({ kind: 'folder', lora: at('models', 'Lora') });
});

test('says what is wrong', () => {
  tree('models/Stable-diffusion/', 'other/main.py');
  const refuse = (...parts: string[]) => expect(() => findLoraFolder(at(...parts)));
  refuse('none').toThrow('there is no such folder');
  refuse('other').toThrow('no web UI is installed here; give the folder that has webui.py');
  refuse('models', 'Stable-diffusion').toThrow(`give the folder above models, ${at()}`);
  refuse('other').toThrow(UserError);
});
