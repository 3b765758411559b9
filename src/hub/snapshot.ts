/**
 * @file The folder of downloads, laid out as Hugging Face's own tools do, so that both use one copy:
 * `models--owner--name/` with `refs/` (a revision's commit), `blobs/` (contents by their hash) and
 * `snapshots/<commit>/` (links under the files' names).
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { copyFile, link, mkdir, rm, symlink } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { UserError } from '../tensor/user-error.ts';
import { writeFileAtomic } from '../weights/atomic-write.ts';
import { fileError } from '../weights/file-error.ts';
import { chooseFiles, type NeededFiles } from './choose-files.ts';
import type { HubRequest, HubSettings } from './hub-settings.ts';
import type { HubFile } from './repository.ts';

/** Where a repository is kept. */
export function repositoryFolder({ repo }: HubRequest, { cacheDir }: HubSettings): string {
  return join(cacheDir, `models--${repo.replace('/', '--')}`);
}

/** The content of a file, under its hash. */
export function blobPath(folder: string, { hash }: HubFile): string {
  return join(folder, 'blobs', hash.hex);
}

/** A file or the folder of a commit. */
export function snapshotPath(folder: string, commit: string, path = ''): string {
  return join(folder, 'snapshots', commit, ...path.split('/'));
}

/** The commit that a revision was when it was last asked for, or null. */
function knownCommit(folder: string, revision: string): string | null {
  if (/^[0-9a-f]{40}$/.test(revision)) return revision;
  try {
    const commit = readFileSync(join(folder, 'refs', ...revision.split('/')), 'utf8').trim();
    return /^[0-9a-f]{40}$/.test(commit) ? commit : null;
  } catch {
    return null;
  }
}

/** Files below a snapshot whose contents are there; links to nothing are left out. */
function filesBelow(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => existsSync(join(folder, path)))
    .map((path) => path.split(sep).join('/'));
}

/** The path of what a choice gives: its only file, or its folder. */
export function chosenPath(folder: string, commit: string, { kind, paths }: NeededFiles): string {
  return snapshotPath(folder, commit, kind === 'file' ? paths[0] : '');
}

/** Whether all parts that a folder's own index names are among its files. */
function isWhole(folder: string, files: readonly string[]): boolean {
  let index: unknown;
  try {
    index = JSON.parse(readFileSync(join(folder, 'model_index.json'), 'utf8'));
  } catch {
    return false;
  }
  const { text_encoder_2: second } = (index ?? {}) as Readonly<Record<string, unknown>>;
  const isNamed = Array.isArray(second) && second[0] !== null;
  return !isNamed || files.some((path) => path.startsWith('text_encoder_2/'));
}

/** What is here of a request. */
export interface FoundSnapshot {
  readonly path: string;
  /** False where the hub may have more to choose from. */
  readonly isCertain: boolean;
}

/** What is wanted, where all of it is here already; null where something is missing. */
export function findSnapshot(request: HubRequest, settings: HubSettings): FoundSnapshot | null {
  const folder = repositoryFolder(request, settings);
  const commit = knownCommit(folder, request.revision);
  if (commit === null) return null;
  try {
    const snapshot = snapshotPath(folder, commit);
    const files = filesBelow(snapshot);
    const needed = chooseFiles(request.repo, files, request.file);
    if (needed.kind === 'folder' && !isWhole(snapshot, needed.paths)) return null;
    const isCertain = needed.kind === 'folder' || request.file !== null;
    return { path: chosenPath(folder, commit, needed), isCertain };
  } catch (error) {
    if (error instanceof UserError) return null;
    throw error;
  }
}

/** Puts a content under its name into a snapshot: as a link, or as a copy where links are not allowed. */
export async function linkFile(blob: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await rm(path, { force: true });
  await symlink(relative(dirname(path), blob), path)
    .catch(() => link(blob, path))
    .catch(() => copyFile(blob, path))
    .catch((error: unknown) => {
      throw fileError(error, 'write', path);
    });
}

/** Notes which commit a revision is. */
export async function noteCommit(folder: string, revision: string, commit: string): Promise<void> {
  if (revision === commit) return;
  const path = join(folder, 'refs', ...revision.split('/'));
  await mkdir(dirname(path), { recursive: true });
  await writeFileAtomic(path, Buffer.from(commit));
}
