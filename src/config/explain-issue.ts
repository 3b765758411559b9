/** @file The schema's complaints as lines for people: what was found, what is expected, what is nearest. */

import type { z } from 'zod';
import { schemaAt } from './config-json-schema.ts';
import { describeExpected, describeFound, hintFor } from './describe-value.ts';
import { suggestKey } from './suggest-key.ts';

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** A mistake in the configuration and the place of its value. */
export interface ConfigProblem {
  readonly path: Path;
  readonly message: string;
  /** The key that was meant by a wrong one; complaints about its absence would only repeat this one. */
  readonly meant?: string;
}

/** The value at a path, or undefined. */
function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part))
      return undefined;
    value = (value as Record<PropertyKey, unknown>)[part];
  }
  return value;
}

/** `data.folders[0].path`. */
export function showPath(path: Path): string {
  return path
    .map((part, i) =>
      typeof part === 'number' ? `[${part}]` : `${i > 0 ? '.' : ''}${String(part)}`,
    )
    .join('');
}

/** Of a union: the issues of the alternative whose kind of value was written, if it is one with keys. */
function chosenIssues(issue: Issue & { code: 'invalid_union' }, found: unknown): readonly Issue[] {
  if (typeof found !== 'object' || found === null || Array.isArray(found)) return [];
  return (
    issue.errors.find((errors) =>
      errors.every((e) => e.path.length > 0 || e.code === 'unrecognized_keys'),
    ) ?? []
  );
}

/** Explains one issue; `root` is the value that was parsed. */
export function explainIssue(
  issue: Issue,
  root: unknown,
  base: Path = [],
): readonly ConfigProblem[] {
  const path = [...base, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const { key: meant, hint } = suggestKey(path, key);
      const message = `${showPath([...path, key])}: unknown key; ${hint}`;
      return { path: [...path, key], message, ...(meant ? { meant } : {}) };
    });
  }
  const found = valueAt(root, path);
  if (issue.code === 'invalid_union') {
    const inner = chosenIssues(issue, found).flatMap((e) => explainIssue(e, root, path));
    if (inner.length > 0) return inner;
  }
  const schema = schemaAt(path) ?? {};
  if (found === undefined) {
    const help = schema.description ? `: ${schema.description}` : '';
    return [{ path, message: `${showPath(path)} is missing${help}` }];
  }
  const own = issue.code === 'invalid_format' || issue.code === 'custom';
  const expected = own ? issue.message : describeExpected(schema);
  const hint = own ? '' : hintFor(found, schema);
  const message = `${showPath(path)}: found ${describeFound(found)}, expected ${expected}`;
  return [{ path, message: hint ? `${message}; ${hint}` : message }];
}
