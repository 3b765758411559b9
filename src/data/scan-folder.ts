/** @file Finds the images of a data set's folders and the caption of each. */

import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, extname, join, resolve } from 'node:path';
import { UserError } from '../tensor/user-error.ts';
import { readCaptionFile } from './caption-file.ts';
import { count, problemOf, someOf, throwProblems } from './problems.ts';

/** A folder of images as the configuration names it. */
export interface DatasetFolder {
  /** A folder of images, an `N_name` folder, or the parent of `N_name` folders. */
  readonly path: string;
  /** Visits of each image an epoch; an `N_name` folder has N. */
  readonly repeats?: number | undefined;
  /** Prior-preservation images: they show the class, not the concept. */
  readonly prior?: boolean | undefined;
  /** Instead of the data set's trigger word; prior folders have none but this. */
  readonly triggerWord?: string | undefined;
  /** Of images without a caption file. */
  readonly caption?: string | undefined;
}

/** One image with its caption. */
export interface Sample {
  readonly path: string;
  /** The folder that the image lies in. */
  readonly folder: string;
  readonly repeats: number;
  readonly prior: boolean;
  /** As written, without the trigger word. */
  readonly caption: string;
  /** Null where the caption is the folder's. */
  readonly captionPath: string | null;
  readonly triggerWord: string | null;
}

export interface ScanOptions {
  /** In the order of preference, such as `['.txt', '.caption']`; with or without the dot. */
  readonly captionExtensions: readonly string[];
  readonly triggerWord?: string | undefined;
}

/** What a scan found; `problems` hinder training, `warnings` don't. */
export interface ScanResult {
  readonly samples: readonly Sample[];
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

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
const numberedName = /^(\d+)_(.+)$/;
/** More repeats than this in a folder's name look like a year or a number of something else. */
const plausibleRepeats = 1000;

interface Listing {
  readonly images: readonly string[];
  readonly otherImages: readonly string[];
  /** Neither images nor folders; captions among them. */
  readonly files: readonly string[];
  readonly folders: readonly string[];
  readonly brokenLinks: readonly string[];
}

/** A folder whose images are read, with what holds for all of them. */
interface ImageFolder {
  readonly path: string;
  readonly listing: Listing;
  readonly repeats: number;
  readonly entry: DatasetFolder;
  /** The `name` of an `N_name` folder. */
  readonly name: string | null;
}

interface Findings {
  readonly samples: Sample[];
  readonly problems: string[];
  readonly warnings: string[];
}

const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
const extensionOf = (name: string) => extname(name).toLowerCase();
const isImage = (name: string) => imageExtensions.includes(extensionOf(name));

/** Names in a folder by kind, each in byte order; hidden ones are left out, links are followed. */
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

async function listEntry(path: string): Promise<Listing> {
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

/** Repeats of an `N_name` folder: the configuration's number, else N. */
function repeatsOf(path: string, entry: DatasetFolder, found: Findings): number {
  const n = Number(numberedName.exec(basename(path))?.[1] ?? 1);
  if (entry.repeats !== undefined) return entry.repeats;
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
  return n;
}

/** The folders with images that an entry of the configuration stands for. */
async function expand(entry: DatasetFolder, found: Findings): Promise<ImageFolder[]> {
  const path = resolve(entry.path);
  const listing = await listEntry(path);
  const name = numberedName.exec(basename(path))?.[2] ?? null;
  const numbered = listing.folders.filter((folder) => numberedName.test(folder));
  const isParent = numbered.length > 0 && (name === null || listing.images.length === 0);
  if (!isParent) {
    const inner = await foldersWithImages(path, listing.folders);
    if (listing.images.length === 0) found.problems.push(noImages(path, listing, inner));
    else if (inner.length > 0) {
      found.warnings.push(`${path}: images in its sub-folders are not read: ${someOf(inner)}`);
    }
    return [{ path, listing, repeats: repeatsOf(path, entry, found), entry, name }];
  }
  if (entry.repeats !== undefined) {
    found.problems.push(
      `${path}: \`repeats\` is ${entry.repeats}, but its sub-folders (${someOf(numbered, 2)}) name their own; remove one or the other`,
    );
  }
  if (listing.images.length > 0) {
    found.warnings.push(
      `${path}: ${count(listing.images.length, 'image')} beside its sub-folders ${someOf(numbered, 2)} are not read; move them into one`,
    );
  }
  const others = listing.folders.filter((folder) => !numberedName.test(folder));
  const ignored = await foldersWithImages(path, others);
  if (ignored.length > 0) {
    found.warnings.push(
      `${path}: sub-folders that are not named N_name are not read: ${someOf(ignored)}`,
    );
  }
  const own = { ...entry, repeats: undefined };
  const folders: ImageFolder[] = [];
  for (const child of numbered) {
    const childPath = join(path, child);
    const childListing = await listEntry(childPath);
    if (childListing.images.length === 0)
      found.problems.push(noImages(childPath, childListing, []));
    folders.push({
      path: childPath,
      listing: childListing,
      repeats: repeatsOf(childPath, own, found),
      entry: own,
      name: numberedName.exec(child)?.[2] ?? null,
    });
  }
  return folders;
}

async function foldersWithImages(path: string, folders: readonly string[]): Promise<string[]> {
  const withImages: string[] = [];
  for (const folder of folders) {
    const listing = await list(join(path, folder)).catch(() => null);
    if (listing && listing.images.length > 0) withImages.push(folder);
  }
  return withImages;
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

/** The caption files of an image, in the order of the extensions: `a.txt` or `a.png.txt` for `a.png`. */
function captionNames(
  image: string,
  files: readonly string[],
  extensions: readonly string[],
): string[] {
  const stem = basename(image, extname(image));
  return extensions.flatMap((extension) =>
    files.filter(
      (file) =>
        extensionOf(file) === extension &&
        [stem, image].includes(file.slice(0, file.length - extension.length)),
    ),
  );
}

/** The caption of an image without a file of its own, or null. */
function sharedCaption({ entry, name }: ImageFolder): string | null {
  const caption = entry.caption?.trim();
  if (caption) return caption;
  // kohya's reg_data_dir: regularisation images seldom have captions, their folder names the class.
  return entry.prior ? name : null;
}

async function readFolder(
  folder: ImageFolder,
  options: ScanOptions,
  found: Findings,
): Promise<void> {
  const { path, listing, repeats, entry } = folder;
  const extensions = options.captionExtensions.map((e) =>
    (e.startsWith('.') ? e : `.${e}`).toLowerCase(),
  );
  const files = listing.files.filter((file) => extensions.includes(extensionOf(file)));
  const prior = entry.prior ?? false;
  const triggerWord =
    (entry.triggerWord ?? (prior ? undefined : options.triggerWord))?.trim() || null;
  const shared = sharedCaption(folder);
  const usedFiles = new Set<string>();
  const severalFiles: string[] = [];
  let withoutFile = 0;
  for (const image of listing.images) {
    const names = captionNames(image, files, extensions);
    for (const file of names) usedFiles.add(file);
    if (names.length > 1) severalFiles.push(image);
    const [file] = names;
    const sample = { path: join(path, image), folder: path, repeats, prior, triggerWord };
    if (file === undefined && shared === null) {
      const wanted = basename(image, extname(image)) + (extensions[0] ?? '.txt');
      found.problems.push(
        `${sample.path}: no caption; write one in ${wanted} beside it, or give the folder a \`caption\` in the configuration`,
      );
    } else if (file === undefined) {
      withoutFile++;
      found.samples.push({ ...sample, caption: shared ?? '', captionPath: null });
    } else {
      const captionPath = join(path, file);
      try {
        found.samples.push({ ...sample, caption: await readCaptionFile(captionPath), captionPath });
      } catch (error) {
        found.problems.push(problemOf(error));
      }
    }
  }
  const orphans = files.filter((file) => !usedFiles.has(file));
  warnOfFolder(folder, { withoutFile, severalFiles, orphans }, found);
}

function warnOfFolder(
  folder: ImageFolder,
  facts: {
    readonly withoutFile: number;
    readonly severalFiles: readonly string[];
    readonly orphans: readonly string[];
  },
  { problems, warnings }: Findings,
): void {
  const { path, listing, entry } = folder;
  for (const link of listing.brokenLinks) {
    problems.push(`${join(path, link)}: a link to a file that is not there; mend or remove it`);
  }
  if (listing.otherImages.length > 0 && listing.images.length > 0) {
    warnings.push(
      `${path}: formats that cannot be read are ignored (convert them to PNG): ${someOf(listing.otherImages)}`,
    );
  }
  if (facts.orphans.length > 0) {
    warnings.push(`${path}: caption files without an image: ${someOf(facts.orphans)}`);
  }
  if (facts.severalFiles.length > 0) {
    warnings.push(
      `${path}: images with several caption files, of which the first extension counts: ${someOf(facts.severalFiles)}`,
    );
  }
  if (facts.withoutFile > 0 && !entry.caption) {
    warnings.push(
      `${path}: ${count(facts.withoutFile, 'prior image')} without a caption file: the folder's name is the caption, "${folder.name}"`,
    );
  }
}

/**
 * Reads the folders of a data set; the samples come in the folders' order, and by their names' bytes
 * within each. Nothing is thrown for what the user can mend: it is in `problems`.
 */
export async function scanFolders(
  folders: readonly DatasetFolder[],
  options: ScanOptions,
): Promise<ScanResult> {
  const found: Findings = { samples: [], problems: [], warnings: [] };
  const seen = new Set<string>();
  for (const entry of folders) {
    try {
      for (const folder of await expand(entry, found)) {
        if (seen.has(folder.path)) {
          found.warnings.push(
            `${folder.path}: named twice, so its images are trained twice as often`,
          );
        }
        seen.add(folder.path);
        await readFolder(folder, options, found);
      }
    } catch (error) {
      found.problems.push(problemOf(error));
    }
  }
  if (found.problems.length === 0 && !found.samples.some((sample) => !sample.prior)) {
    found.problems.push(
      folders.length === 0
        ? 'the configuration names no folder of images; add one under `data.folders`'
        : 'every folder in `data.folders` is `prior: true`; add one with the images to learn',
    );
  }
  return found;
}

/**
 * The samples of a data set that is fit to train on.
 * @throws UserError with the first problems, one line each.
 */
export async function scanDataset(
  folders: readonly DatasetFolder[],
  options: ScanOptions,
): Promise<{ readonly samples: readonly Sample[]; readonly warnings: readonly string[] }> {
  const { samples, problems, warnings } = await scanFolders(folders, options);
  throwProblems(problems);
  return { samples, warnings };
}
