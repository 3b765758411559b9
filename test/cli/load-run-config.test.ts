/** @file Folders of web UIs other than the usual ones. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { loadRunConfig } from '../../src/cli/load-run-config.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';

const at = temporaryFolder();

function load(webui: string, extra = '') {
  const text = `base: model.safetensors\nwebui: ${webui}\noutput:\n  name: zibbo\n${extra}data:\n  folders:\n    - path: images\ntrain:\n  steps: 1\n`;
  writeFileSync(at('run.yaml'), text);
  return loadRunConfig({ config: at('run.yaml') }).config;
}

test('ComfyUI’s folders take the place of the web UI’s', () => {
  mkdirSync(at('comfy', 'comfy'), { recursive: true });
  writeFileSync(at('comfy', 'main.py'), '');
  const config = load(at('comfy'));
  expect(config.base).toBe(at('comfy', 'models', 'checkpoints', 'model.safetensors'));
  expect(config.output.dir).toBe(at('comfy', 'models', 'loras'));
  expect(config.data.cacheDir).toBe(at('comfy', 'models', 'loras', '.sdl-train', 'zibbo', 'cache'));
  expect(config.log.file).toBe(at('comfy', 'models', 'loras', '.sdl-train', 'zibbo', 'log.jsonl'));
});

test('a portable package keeps the web UI in a folder of its own', () => {
  mkdirSync(at('sd', 'webui', 'modules'), { recursive: true });
  writeFileSync(at('sd', 'webui', 'webui.py'), '');
  expect(load(at('sd')).output.dir).toBe(at('sd', 'webui', 'models', 'Lora'));
});

test('what the user chose stays, and the usual web UI changes nothing', () => {
  mkdirSync(at('a1111', 'modules'), { recursive: true });
  writeFileSync(at('a1111', 'webui.py'), '');
  expect(load(at('a1111')).output.dir).toBe(at('a1111', 'models', 'Lora'));
  mkdirSync(at('comfy', 'comfy'), { recursive: true });
  writeFileSync(at('comfy', 'main.py'), '');
  const config = load(at('comfy'), `  dir: ${at('mine')}\n`);
  expect([config.output.dir, config.log.file]).toEqual([
    at('mine'),
    at('mine', '.sdl-train', 'zibbo', 'log.jsonl'),
  ]);
});

test('a folder without a web UI is refused; a missing one is left to the check of paths', () => {
  mkdirSync(at('empty'));
  expect(() => load(at('empty'))).toThrow(/no web UI is installed here/);
  expect(load(at('nowhere')).output.dir).toBe(at('nowhere', 'models', 'Lora'));
});
