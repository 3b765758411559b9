/** @file Whether the files and folders that a configuration names are there. */

import { readdirSync, statSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { showPath } from './explain-issue.ts';
import type { LoadedConfig } from './load-config.ts';
import { originOf } from './print-config.ts';
import { backslashAdvice } from './read-yaml.ts';
import { refusal } from './refuse.ts';
import { nearest } from './suggest-key.ts';

type Kind = 'file' | 'folder' | 'file or folder';

function kindOf(path: string): 'file' | 'folder' | undefined {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats && (stats.isDirectory() ? 'folder' : 'file');
}

/** The names in a folder; none where it cannot be read. */
function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function complaint(path: string, expected: Kind): string | undefined {
  const kind = kindOf(path);
  if (kind === expected || (kind && expected === 'file or folder')) return undefined;
  if (kind) return `${path} is a ${kind}; expected a ${expected}`;
  // C:\temp\new in double quotes has a tab and a new line.
  const escaped = [...path].some((character) => character < ' ');
  if (escaped) return `no such ${expected}: ${path}; ${backslashAdvice}`;
  const folder = dirname(path);
  const near = nearest(basename(path), namesIn(folder));
  const help = near ? `; did you mean ${near}?` : kindOf(folder) ? '' : `; nor is there ${folder}`;
  return `no such ${expected}: ${path}${help}`;
}

/**
 * Looks for the checkpoint, the VAE, the web UI and the image folders.
 * @throws UserError (exit code 2) with one line for each that is missing, beginning with its `file:line`.
 */
export function checkPaths(loaded: LoadedConfig): void {
  const { base, vae, webui, data } = loaded.config;
  const needed: readonly (readonly [
    path: string | null,
    kind: Kind,
    key: readonly PropertyKey[],
  ])[] = [
    [webui, 'folder', ['webui']],
    [loaded.hubModel ? null : base, 'file or folder', ['base']],
    [vae, 'file', ['vae']],
    ...data.folders.map(({ path }, i) => [path, 'folder', ['data', 'folders', i, 'path']] as const),
  ];
  const lines = needed.flatMap(([path, kind, key]) => {
    const found = path === null ? undefined : complaint(path, kind);
    return found ? [`${originOf(loaded, key)}: ${showPath(key)}: ${found}`] : [];
  });
  if (lines.length > 0) throw refusal(lines);
}
