/** @file Reads a configuration file and `--set` values, and reports every mistake of both at once. */

import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { UserError } from '../tensor/user-error.ts';
import { findContradictions } from './contradictions.ts';
import { type ConfigProblem, explainIssue } from './explain-issue.ts';
import { applyOverride, parseOverride } from './override.ts';
import { pathKey, readYaml, setOwn } from './read-yaml.ts';
import { refusal } from './refuse.ts';
import { type HubModel, resolveConfig, type UnsizedConfig } from './resolve-config.ts';
import { type FileConfig, fileSchema, sectionNames } from './schema.ts';
import { sizeConfig } from './size-config.ts';

/** Where a configuration comes from. */
export interface ConfigRequest {
  /** The YAML file, also its name in messages. */
  readonly path: string;
  /** The file's content, where it is not to be read from `path`. */
  readonly text?: string;
  /** Values of `--set`, as `train.steps=500`; later ones win. */
  readonly overrides?: readonly string[];
  /** Folder that relative paths start from; default: the process's. */
  readonly cwd?: string;
}

/** A configuration with the origin of its values. */
export interface LoadedConfig {
  /** With its sizes where the resolution is stated; else they follow from the base. */
  readonly config: UnsizedConfig;
  /** `file:line` or `--set …` by the path of a value, as `data.folders.0.path`; no entry: a default. */
  readonly sources: ReadonlyMap<string, string>;
  /** What a default was derived from, by path. */
  readonly derived: ReadonlyMap<string, string>;
  /** The base where it is on the hub and not here yet. */
  readonly hubModel: HubModel | null;
  /** The file as it was named. */
  readonly path: string;
}

/** No configuration is as long; something else was given. */
const maxBytes = 1024 * 1024;

/** A broken file's mistakes are mostly consequences of the first. */
const mostOfBroken = 3;

function readText(path: string, cwd: string): string {
  let bytes: Buffer;
  try {
    const file = openSync(resolve(cwd, path), 'r');
    try {
      const { size } = fstatSync(file);
      if (size > maxBytes) {
        throw refusal([
          `${path}: ${size} bytes are too many for a configuration; expected a YAML file`,
        ]);
      }
      bytes = readFileSync(file);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (error instanceof UserError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') {
      throw refusal([
        `${path}: no such file; give a configuration, as --config configs/character.yaml`,
      ]);
    }
    if (code === 'EISDIR') throw refusal([`${path}: a folder; expected a YAML file`]);
    throw refusal([`${path}: cannot be read: ${(error as Error).message}`]);
  }
  return decode(path, bytes);
}

function decode(path: string, bytes: Buffer): string {
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) {
    throw refusal([`${path}: saved as UTF-16; save it as UTF-8`]);
  }
  const decoder = new TextDecoder('utf-8', { fatal: true });
  try {
    return decoder.decode(bytes);
  } catch {
    // A line feed is never part of another UTF-8 character, so lines can be tried one by one.
    let line = 1;
    for (let start = 0; start <= bytes.length; line++) {
      const feed = bytes.indexOf(0x0a, start);
      const end = feed < 0 ? bytes.length : feed;
      try {
        decoder.decode(bytes.subarray(start, end));
      } catch {
        break;
      }
      start = end + 1;
    }
    throw refusal([`${path}:${line}: not UTF-8 text; save the file as UTF-8`]);
  }
}

/** `file:line` and `--set` problems, in the order of the file, `--set` last. */
interface Located {
  readonly line: number;
  readonly text: string;
}

function show(problems: readonly Located[]): readonly string[] {
  const sorted = [...problems].sort((a, b) => a.line - b.line);
  return [...new Set(sorted.map((problem) => problem.text))];
}

/** The origin of a value: its own, or that of the nearest section around it. */
function sourceOf(sources: ReadonlyMap<string, string>, path: readonly PropertyKey[]) {
  for (let length = path.length; length > 0; length--) {
    const source = sources.get(pathKey(path.slice(0, length)));
    if (source) return source;
  }
  return undefined;
}

/** A copy without what the schema complains of, so that the rest can be looked at too. */
function withoutWrong(root: unknown, wrong: ReadonlySet<string>, path = ''): unknown {
  if (typeof root !== 'object' || root === null) return root;
  const entries = Object.entries(root)
    .map(([key, value]) => [key, path ? `${path}.${key}` : key, value] as const)
    .filter(([, at]) => !wrong.has(at));
  if (Array.isArray(root)) return entries.map(([, at, value]) => withoutWrong(value, wrong, at));
  const copy = {};
  for (const [key, at, value] of entries) setOwn(copy, key, withoutWrong(value, wrong, at));
  return copy;
}

/** Stands in for what is required and missing or wrong, so that the rest can be looked at. */
const standIns: readonly (readonly [section: string | null, key: string, value: unknown])[] = [
  [null, 'base', '-'],
  ['output', 'name', '-'],
  ['data', 'folders', [{ path: '-' }]],
];

/** What of the content is sound, or undefined where too little is. */
function soundPart(root: unknown, wrong: ReadonlySet<string>): FileConfig | undefined {
  const sound = withoutWrong(root, wrong) as Record<string, Record<string, unknown>>;
  for (const section of sectionNames) sound[section] ??= {};
  for (const [section, key, value] of standIns) {
    const parent: Record<string, unknown> = section ? sound[section]! : sound;
    parent[key] ??= value;
  }
  return fileSchema.safeParse(sound).data;
}

/** Everything that is wrong with a file's content, as far as it can be told. */
function findProblems(root: unknown): readonly ConfigProblem[] {
  const parsed = fileSchema.safeParse(root);
  const problems = (parsed.error?.issues ?? []).flatMap((issue) => explainIssue(issue, root));
  const wrong = new Set(problems.map((problem) => pathKey(problem.path)));
  const rest = parsed.success ? parsed.data : soundPart(root, wrong);
  if (!rest) return problems;
  const suspects = [...wrong, ...problems.flatMap((problem) => problem.meant ?? [])];
  const isSuspect = (key: string) =>
    suspects.some((suspect) => suspect === key || suspect.startsWith(`${key}.`));
  const contradictions = findContradictions(rest)
    .filter((found) => !found.keys.some(isSuspect))
    .map(({ keys, message }) => ({ path: keys[0]!.split('.'), message }));
  return [...problems, ...contradictions];
}

/** The file's content as an object with all sections. */
function contentOf(path: string, text: string) {
  const content = readYaml(text);
  const problems = content.problems.map(({ line, message }) => ({
    line,
    text: `${path}:${line}: ${message}`,
  }));
  if (content.broken) throw refusal(show(problems), mostOfBroken);
  if (content.value === null) {
    throw refusal([`${path}: the file is empty; start from configs/character.yaml`]);
  }
  if (typeof content.value !== 'object' || Array.isArray(content.value)) {
    const found = Array.isArray(content.value) ? 'a list' : 'a text';
    const expected = 'expected keys, such as base: model.safetensors';
    throw refusal([`${path}:1: ${found} at the top; ${expected}`]);
  }
  const root = content.value as Record<string, unknown>;
  const sources = new Map<string, string>();
  for (const [key, line] of content.lines) if (key !== '') sources.set(key, `${path}:${line}`);
  return { root, sources, problems };
}

function applyOverrides(
  root: Record<string, unknown>,
  sources: Map<string, string>,
  overrides: readonly string[],
): Located[] {
  const problems: Located[] = [];
  for (const text of overrides) {
    const override = parseOverride(text);
    const complaint =
      typeof override === 'string' ? override : applyOverride(root, sources, override);
    if (complaint) problems.push({ line: Number.MAX_VALUE, text: complaint });
  }
  return problems;
}

/**
 * Loads and checks a configuration. It does not look whether the files that it names exist;
 * `checkPaths` does.
 * @throws UserError (exit code 2) with one line for each mistake, each beginning with its `file:line`.
 */
export function loadConfig({ path, text, overrides = [], cwd }: ConfigRequest): LoadedConfig {
  const folder = cwd ?? process.cwd();
  const { root, sources, problems } = contentOf(path, text ?? readText(path, folder));
  const located: Located[] = [...problems, ...applyOverrides(root, sources, overrides)];
  for (const section of sectionNames) if ((root[section] ?? null) === null) root[section] = {};

  for (const { path: at, message } of findProblems(root)) {
    const source = sourceOf(sources, at);
    const line = source?.startsWith(`${path}:`) ? Number(source.slice(path.length + 1)) : undefined;
    located.push({
      line: line ?? (source ? Number.MAX_VALUE : 0),
      text: `${source ?? path}: ${message}`,
    });
  }
  if (located.length > 0) throw refusal(show(located));
  const resolved = resolveConfig(fileSchema.parse(root), folder);
  const { config } = resolved;
  const isSized = config.data.resolution !== null;
  return { ...resolved, config: isSized ? sizeConfig(config, null) : config, sources, path };
}
