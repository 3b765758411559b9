/** @file Lists a folder of a data set: what is an image, what a caption, what is left out. */

import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { UserError } from '../tensor/user-error.ts';

const imageExtensions = ['.jpg', '.jpeg', '.png', '.webp', '.avif', '.tif', '.tiff'];
const otherImageExtensions = [
  '.gif',
  '.bmp',
  '.heic',
  '.heif',
  '.jxl',
  '.jp2',
  '.svg',
  '.psd',
  '.tga',
  '.ico',
];

/** Names in a folder by kind, each in byte order. */
export interface Listing {
  readonly images: readonly string[];
  readonly otherImages: readonly string[];
  /** Neither images nor folders; captions among them. */
  readonly files: readonly string[];
  readonly folders: readonly string[];
  readonly brokenLinks: readonly string[];
}

const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));

/** In lower case, with the dot. */
export const extensionOf = (name: string) => extname(name).toLowerCase();

const isImage = (name: string) => imageExtensions.includes(extensionOf(name));

/** Hidden names are left out, links are followed. */
async function list(folder: string): Promise<Listing> {
  const listing = {
    images: [] as string[],
    otherImages: [] as string[],
    files: [] as string[],
    folders: [] as string[],
    brokenLinks: [] as string[],
  };
  const entries = await readdir(folder, { withFileTypes: true });
  const visible = entries.filter(({ name }) => !name.startsWith('.') && name !== '__MACOSX');
  for (const entry of visible.sort((a, b) => byBytes(a.name, b.name))) {
    listing[await kindOf(folder, entry)].push(entry.name);
  }
  return listing;
}

async function kindOf(folder: string, entry: Dirent): Promise<keyof Listing> {
  const target = entry.isSymbolicLink()
    ? await stat(join(folder, entry.name)).catch(() => null)
    : entry;
  if (target === null) return isImage(entry.name) ? 'brokenLinks' : 'files';
  if (target.isDirectory()) return 'folders';
  if (isImage(entry.name)) return 'images';
  return otherImageExtensions.includes(extensionOf(entry.name)) ? 'otherImages' : 'files';
}

/**
 * Lists a folder of the data set; hidden names are left out, links are followed.
 * @throws UserError where it is missing, no folder or unreadable.
 */
export async function listFolder(path: string): Promise<Listing> {
  try {
    return await list(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') {
      throw new UserError(`${path}: no such folder; check \`data.folders\` in the configuration`);
    }
    if (code === 'ENOTDIR') {
      throw new UserError(
        `${path}: is a file, but \`data.folders\` takes folders; give the folder it lies in`,
      );
    }
    throw new UserError(`${path}: the folder cannot be read (${code}); check its permissions`);
  }
}

/** Those of the sub-folders of `path` that have images in them. */
export async function foldersWithImages(
  path: string,
  folders: readonly string[],
): Promise<string[]> {
  const withImages: string[] = [];
  for (const folder of folders) {
    const listing = await list(join(path, folder)).catch(() => null);
    if (listing && listing.images.length > 0) withImages.push(folder);
  }
  return withImages;
}
