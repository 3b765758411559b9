/** @file `--set a.b=c`: one value given on the command line instead of the file. */

import { readYaml, setOwn } from './read-yaml.ts';

/** One parsed `--set`. */
export interface Override {
  readonly path: readonly (string | number)[];
  readonly value: unknown;
  /** As it was typed, `--set a.b=c`. */
  readonly source: string;
  /** Paths within the value, relative to it. */
  readonly inner: readonly string[];
}

/** Splits `data.folders[0].path` or `data.folders.0.path`; undefined where it is neither. */
function parsePath(text: string): (string | number)[] | undefined {
  const parts = text.replace(/\[(\d+)\]/g, '.$1').split('.');
  if (parts.some((part) => !/^[\w-]+$/.test(part))) return undefined;
  return parts.map((part) => (/^\d{1,6}$/.test(part) ? Number(part) : part));
}

/** Parses one `a.b=c`; the value is YAML (`0.5`, `text`, `[1, 2]`, `null`). Returns a complaint for a bad one. */
export function parseOverride(text: string): Override | string {
  const source = `--set ${text}`;
  const equals = text.indexOf('=');
  const path = parsePath(text.slice(0, equals).trim());
  if (equals < 1 || !path) {
    return `${source}: expected a key and a value, as in --set train.steps=500`;
  }
  const content = readYaml(text.slice(equals + 1));
  const [problem] = content.problems;
  if (problem) return `${source}: ${problem.message}`;
  if (content.hasComment) return `${source}: # starts a comment: put the value in quotes`;
  const inner = [...content.lines.keys()].filter((key) => key !== '');
  return { path, value: content.value, source, inner };
}

/**
 * Puts an override into `root` and its place into `sources`; sections on the way are made.
 * Returns a complaint where a list is addressed in a way that it has not; the rest is the schema's.
 */
export function applyOverride(
  root: Record<string, unknown>,
  sources: Map<string, string>,
  { path, value, source, inner }: Override,
): string | undefined {
  let parent: object = root;
  let at = '';
  for (const [i, part] of path.entries()) {
    if (Array.isArray(parent) && !(typeof part === 'number' && part <= parent.length)) {
      const count = `${parent.length} ${parent.length === 1 ? 'entry' : 'entries'}`;
      return `${source}: ${at} is a list of ${count}: name one as ${at}[0], or add ${at}[${parent.length}]`;
    }
    at = at ? `${at}.${part}` : String(part);
    if (i === path.length - 1) setOwn(parent, part, value);
    else
      parent = sectionIn(parent, part, typeof path[i + 1] === 'number', () =>
        sources.set(at, source),
      );
  }
  for (const key of sources.keys()) {
    if (key === at || key.startsWith(`${at}.`)) sources.delete(key);
  }
  sources.set(at, source);
  for (const key of inner) sources.set(`${at}.${key}`, source);
  return undefined;
}

/** The section or list at `part` of `parent`, made where there is none. */
function sectionIn(
  parent: object,
  part: string | number,
  asList: boolean,
  onMade: () => void,
): object {
  const there = Object.hasOwn(parent, part) && (parent as Record<PropertyKey, unknown>)[part];
  if (typeof there === 'object' && there !== null) return there;
  const made = asList ? [] : {};
  setOwn(parent, part, made);
  onMade();
  return made;
}
