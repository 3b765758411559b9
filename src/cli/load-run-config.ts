/** @file The configuration of a command: file, `--set` values, and where a web UI keeps its models. */

import { statSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { type LoadedConfig, loadConfig } from '../config/load-config.ts';
import { printConfig } from '../config/print-config.ts';
import type { UnsizedConfig } from '../config/resolve-config.ts';
import { findLoraFolder } from '../export/output-folder.ts';
import { UserError } from '../tensor/user-error.ts';
import { fetchBase } from './fetch-base.ts';
import type { Terminal } from './terminal.ts';

/** Options of the command line that make up a configuration. */
interface ConfigArguments {
  readonly config?: string | undefined;
  readonly set?: readonly string[] | undefined;
}

/** `path` with the folder `from` in its place replaced by `to`; other paths as they are. */
function moved(path: string, from: string, to: string): string {
  const rest = relative(from, path);
  const inside = rest !== '..' && !rest.startsWith(`..${sep}`) && !rest.includes(':');
  return inside ? join(to, rest) : path;
}

/**
 * The configuration with the folders that the web UI really has: ComfyUI names them otherwise, and
 * portable packages keep the program in a folder of its own.
 * @throws UserError where the folder exists and holds no web UI
 */
function locateWebUi(config: UnsizedConfig): UnsizedConfig {
  const { webui } = config;
  // A missing folder is `checkPaths`'s matter, which knows the line that names it.
  if (webui === null || !statSync(webui, { throwIfNoEntry: false })?.isDirectory()) return config;
  const found = findLoraFolder(webui);
  const lora = (path: string) => moved(path, join(webui, 'models', 'Lora'), found.lora);
  const { base, vae, output, data, log } = config;
  return {
    ...config,
    base: moved(base, join(webui, 'models', 'Stable-diffusion'), found.checkpoints),
    vae: vae === null ? null : moved(vae, join(webui, 'models', 'VAE'), found.vae),
    output: { ...output, dir: lora(output.dir) },
    data: { ...data, cacheDir: lora(data.cacheDir) },
    log: { ...log, file: lora(log.file) },
  };
}

/**
 * Loads the configuration that the command line names.
 * @throws UserError (exit code 2) with a line for each mistake
 */
export function loadRunConfig({ config: path, set }: ConfigArguments): LoadedConfig {
  if (path === undefined || path === '' || typeof path !== 'string') {
    const what = Array.isArray(path) ? 'is there twice; give one' : 'is missing: give a';
    throw new UserError(
      `--config ${what} configuration, such as --config configs/character.yaml\nsee sdl-train --help`,
      2,
    );
  }
  const loaded = loadConfig({ path, overrides: set ?? [] });
  const config = locateWebUi(loaded.config);
  return { ...loaded, config: loaded.hubModel ? { ...config, base: loaded.config.base } : config };
}

/** Prints the configuration where that is asked for; hands it to `action` otherwise. */
export async function withConfig(
  options: ConfigArguments & { readonly 'print-config': boolean },
  terminal: Terminal,
  action: (loaded: LoadedConfig) => Promise<number>,
): Promise<number> {
  const loaded = loadRunConfig(options);
  if (!options['print-config']) return action(await fetchBase(loaded, terminal));
  terminal.print(printConfig(loaded).trimEnd());
  return 0;
}
