/** @file A base model from the Hugging Face hub: from the folder of downloads, or into it. */

import { UserError } from '../tensor/user-error.ts';
import { chooseFiles } from './choose-files.ts';
import { downloadFile } from './download-file.ts';
import { hubError, isNetworkError } from './hub-error.ts';
import { connectHub, type HubConnection } from './hub-fetch.ts';
import { type HubRequest, type HubSettings, hubSettings } from './hub-settings.ts';
import { type HubFile, type Repository, readRepository } from './repository.ts';
import {
  blobPath,
  chosenPath,
  findSnapshot,
  linkFile,
  noteCommit,
  repositoryFolder,
  snapshotPath,
} from './snapshot.ts';

/** How far the download of a model is. */
export interface HubProgress {
  /** The file that is being downloaded. */
  readonly path: string;
  /** Bytes of all files. */
  readonly done: number;
  readonly total: number;
}

export interface FetchOptions {
  /** Variables such as HF_TOKEN. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly onProgress: (progress: HubProgress) => void;
  /** Before a new attempt after a connection was cut, in milliseconds; a second unless given. */
  readonly wait?: number;
  /** Milliseconds without a byte after which a connection counts as cut. */
  readonly stallAfter?: number;
}

const usualWait = 1000;

const fileUrl = ({ repo }: HubRequest, { endpoint }: HubSettings, commit: string, path: string) =>
  `${endpoint}/${repo}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`;

async function download(
  request: HubRequest,
  settings: HubSettings,
  { fetch }: HubConnection,
  { commit, files }: Repository,
  { onProgress, stallAfter, wait = usualWait }: FetchOptions,
): Promise<string> {
  const all = files.map(({ path }) => path);
  const needed = chooseFiles(request.repo, all, request.file);
  const byPath = new Map(files.map((file) => [file.path, file]));
  const wanted = needed.paths.map((path): HubFile => byPath.get(path)!);
  const total = wanted.reduce((sum, { size }) => sum + size, 0);
  const folder = repositoryFolder(request, settings);
  let before = 0;
  for (const file of wanted) {
    const { path } = file;
    await downloadFile({
      settings,
      fetch,
      url: fileUrl(request, settings, commit, path),
      file,
      target: blobPath(folder, file),
      onProgress: (bytes) => onProgress({ path, done: before + bytes, total }),
      wait,
      stallAfter,
    });
    before += file.size;
  }
  // Names come last, so that what has names is whole; the folder's index, which leads, is the very last.
  for (const file of wanted.toReversed()) {
    await linkFile(blobPath(folder, file), snapshotPath(folder, commit, file.path));
  }
  await noteCommit(folder, request.revision, commit);
  return chosenPath(folder, commit, needed);
}

/**
 * Gives the path of a model on the hub: a file, or a folder in diffusers' layout. What is here
 * already is used without a question to the hub.
 * @throws UserError, one line, where the hub refuses or cannot be reached, or what comes is damaged
 */
export async function fetchModel(request: HubRequest, options: FetchOptions): Promise<string> {
  const settings = hubSettings(request, options.env);
  const found = findSnapshot(request, settings);
  if (found && (found.isCertain || settings.isOffline)) return found.path;
  if (settings.isOffline) {
    throw new UserError(
      `${request.repo}: it is not, or not wholly, in ${settings.cacheDir}, and HF_HUB_OFFLINE forbids to download it; ` +
        'run once without HF_HUB_OFFLINE',
    );
  }
  const connection = await connectHub(settings.proxy);
  try {
    const wait = options.wait ?? usualWait;
    const repository = await readRepository(request, settings, connection, wait);
    return await download(request, settings, connection, repository, options);
  } catch (error) {
    if (found && isNetworkError(error)) return found.path;
    throw hubError(error, request, settings);
  } finally {
    await connection.close();
  }
}
