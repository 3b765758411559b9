/** @file Finds the folders with images that an entry of the configuration stands for. */

import { basename, join, resolve } from 'node:path';
import { foldersWithImages, type Listing, listFolder } from './list-folder.ts';
import { count, someOf } from './problems.ts';

/** A folder of images as the configuration names it. */
export interface DatasetFolder {
  /** A folder of images, an `N_name` folder, or the parent of `N_name` folders. */
  readonly path: string;
  /** Visits of each image an epoch; an `N_name` folder has N. */
  readonly repeats?: number | null;
  /** Prior-preservation images: they show the class, not the concept. */
  readonly prior?: boolean;
  /** Instead of the data set's trigger word; prior folders have none but this. */
  readonly triggerWord?: string | null;
  /** Of images without a caption file. */
  readonly caption?: string | null;
}

/** Gathered while the data set is read. */
export interface Notes {
  readonly problems: string[];
  readonly warnings: string[];
}

/** A folder whose images are read, with what holds for all of them. */
export interface ImageFolder {
  readonly path: string;
  readonly listing: Listing;
  readonly repeats: number;
  readonly entry: DatasetFolder;
  /** The `name` of an `N_name` folder. */
  readonly name: string | null;
}

const numberedName = /^(\d+)_(.+)$/;
/** More repeats than this in a folder's name look like a year or a number of something else. */
const plausibleRepeats = 1000;

/** Repeats of an `N_name` folder: the configuration's number, else N. */
function repeatsOf(path: string, entry: DatasetFolder, found: Notes): number {
  const n = Number(numberedName.exec(basename(path))?.[1] ?? 1);
  if (typeof entry.repeats === 'number') return entry.repeats;
  if (n === 0) {
    found.problems.push(
      `${path}: its name asks for 0 repeats, so none of its images would be trained; rename it to 1_… or remove it`,
    );
  }
  if (n > plausibleRepeats) {
    found.warnings.push(
      `${path}: its name is read as ${n} repeats of each image; if it is no count, set \`repeats\` for this folder`,
    );
  }
  return Math.max(n, 1);
}

function noImages(path: string, listing: Listing, inner: readonly string[]): string {
  const [first] = inner;
  if (first !== undefined) {
    return `${path}: no images in it, only in its sub-folders (${someOf(inner)}); name those in \`data.folders\`, or rename them to N_name, such as 10_${first}`;
  }
  const others =
    listing.otherImages.length > 0
      ? ` (${someOf(listing.otherImages)} cannot be read: convert to PNG)`
      : '';
  return `${path}: no images in it${others}; put .jpg, .png, .webp, .avif or .tiff files there`;
}

/** An `N_name` folder without images is a problem like any other: its name promises some. */
async function numberedFolder(
  path: string,
  entry: DatasetFolder,
  found: Notes,
): Promise<ImageFolder> {
  const listing = await listFolder(path);
  if (listing.images.length === 0) found.problems.push(noImages(path, listing, []));
  const name = numberedName.exec(basename(path))?.[2] ?? null;
  return { path, listing, repeats: repeatsOf(path, entry, found), entry, name };
}

async function noteOfParent(
  path: string,
  { images, folders }: Listing,
  { repeats }: DatasetFolder,
  { problems, warnings }: Notes,
): Promise<void> {
  const numbered = folders.filter((folder) => numberedName.test(folder));
  if (typeof repeats === 'number') {
    problems.push(
      `${path}: \`repeats\` is ${repeats}, but its sub-folders (${someOf(numbered, 2)}) name their own; remove one or the other`,
    );
  }
  if (images.length > 0) {
    warnings.push(
      `${path}: ${count(images.length, 'image')} beside its sub-folders ${someOf(numbered, 2)} are not read; move them into one`,
    );
  }
  const others = folders.filter((folder) => !numberedName.test(folder));
  const ignored = await foldersWithImages(path, others);
  if (ignored.length > 0) {
    warnings.push(
      `${path}: sub-folders that are not named N_name are not read: ${someOf(ignored)}`,
    );
  }
}

/**
 * The folders with images that an entry of the configuration stands for: a plain folder, an `N_name`
 * folder, or the `N_name` folders within it, as kohya's trainer lays them out.
 * @throws UserError where the folder is missing or unreadable.
 */
export async function imageFolders(entry: DatasetFolder, found: Notes): Promise<ImageFolder[]> {
  const path = resolve(entry.path);
  const listing = await listFolder(path);
  const name = numberedName.exec(basename(path))?.[2] ?? null;
  const numbered = listing.folders.filter((folder) => numberedName.test(folder));
  if (numbered.length > 0 && (name === null || listing.images.length === 0)) {
    await noteOfParent(path, listing, entry, found);
    const own = { ...entry, repeats: null };
    const folders: ImageFolder[] = [];
    for (const child of numbered) folders.push(await numberedFolder(join(path, child), own, found));
    return folders;
  }
  const inner = await foldersWithImages(path, listing.folders);
  if (listing.images.length === 0) {
    found.problems.push(noImages(path, listing, inner));
  } else if (inner.length > 0) {
    found.warnings.push(`${path}: images in its sub-folders are not read: ${someOf(inner)}`);
  }
  return [{ path, listing, repeats: repeatsOf(path, entry, found), entry, name }];
}
