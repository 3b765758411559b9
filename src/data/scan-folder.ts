/** @file Finds the images of a data set's folders and the caption of each. */

import { basename, extname, join } from 'node:path';
import { readCaptionFile } from './caption-file.ts';
import { type DatasetFolder, type ImageFolder, imageFolders, type Notes } from './image-folders.ts';
import { extensionOf } from './list-folder.ts';
import { count, problemOf, someOf, throwProblems } from './problems.ts';

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
  readonly triggerWord?: string | null;
}

/** What a scan found; `problems` hinder training, `warnings` don't. */
export interface ScanResult {
  readonly samples: readonly Sample[];
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

interface Findings extends Notes {
  readonly samples: Sample[];
}

/**
 * Looks up the caption files of an image, in the order of the extensions: `a.txt` or `a.png.txt` for
 * `a.png`; the extension's case does not matter.
 */
function captionLookup(files: readonly string[], extensions: readonly string[]) {
  const byKey = new Map<string, string>();
  for (const file of files) {
    const extension = extname(file);
    byKey.set(file.slice(0, file.length - extension.length) + extension.toLowerCase(), file);
  }
  return (image: string): string[] => {
    const stem = basename(image, extname(image));
    const keys = extensions.flatMap((extension) => [stem + extension, image + extension]);
    return keys.flatMap((key) => byKey.get(key) ?? []);
  };
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
  const triggerWord = (entry.triggerWord ?? (prior ? null : options.triggerWord))?.trim() || null;
  const shared = sharedCaption(folder);
  const captionsOf = captionLookup(files, extensions);
  const usedFiles = new Set<string>();
  const severalFiles: string[] = [];
  let withoutFile = 0;
  for (const image of listing.images) {
    const names = captionsOf(image);
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
      for (const folder of await imageFolders(entry, found)) {
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
