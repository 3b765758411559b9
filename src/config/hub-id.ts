/** @file Which values of `base` name a model on the Hugging Face hub, and not a file. */

import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/** A model on the hub. */
export interface HubId {
  /** `owner/name`. */
  readonly repo: string;
  /** A branch, tag or commit; null where it is not named. */
  readonly revision: string | null;
  /** A file in it; null for whatever it holds. */
  readonly file: string | null;
}

/** As the hub allows owners and names. */
const idPattern = /^([\w.-]{1,96}\/[\w.-]{1,96})(?:@(.{1,200}))?$/;
const addressPattern =
  /^https:\/\/(?:www\.)?(?:huggingface\.co|hf\.co)\/([\w.-]+\/[\w.-]+)(?:\/(?:resolve|blob|tree)\/([^/?#]+)(?:\/([^?#]+))?)?\/?(?:\?[^#]*)?(?:#.*)?$/;
const modelFile = /\.(safetensors|ckpt|pth?|bin|gguf|ya?ml)$/i;

/** A branch, tag or commit: part of a path of this machine too. */
export const revisionPattern = /^(?!.*\.\.)[\w.-]+(\/[\w.-]+)*$/;

function decoded(text: string | undefined): string | null {
  try {
    return text === undefined ? null : decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** The model that a text names by its form alone: `owner/name`, `owner/name@revision`, or its address. */
export function readHubId(text: string): HubId | null {
  const [, page, revisionOfPage, file] = addressPattern.exec(text) ?? [];
  const [, plain, revisionOfId = null] = idPattern.exec(text) ?? [];
  const repo = page ?? plain;
  const revision = page === undefined ? revisionOfId : decoded(revisionOfPage);
  if (repo === undefined || modelFile.test(repo) || /^\.|\/\.|\.\.|--/.test(repo)) return null;
  if (revision !== null && !revisionPattern.test(revision)) return null;
  return { repo, revision, file: decoded(file) };
}

/**
 * The model that `base` names; null where it is a path: also one that is not there, but whose folder
 * is, so that a slip of the pen never asks the hub.
 */
export function hubModelOf(base: string, cwd: string): HubId | null {
  const id = readHubId(base);
  if (id === null || base.startsWith('https:')) return id;
  const path = resolve(cwd, base);
  return existsSync(path) || existsSync(dirname(path)) ? null : id;
}
