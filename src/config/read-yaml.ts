/** @file YAML into plain values, with the line of each key and every mistake of the file. */

import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type ParsedNode,
  parseDocument,
} from 'yaml';

/** A mistake and its line, from 1. */
interface YamlProblem {
  readonly line: number;
  readonly message: string;
}

/** What a text holds. */
export interface YamlContent {
  readonly value: unknown;
  /** Line of each value by its path, as `data.folders.0.path`; of a key: the line of its name. */
  readonly lines: ReadonlyMap<string, number>;
  readonly problems: readonly YamlProblem[];
  /** The text is not YAML at all: `value` is not to be used. */
  readonly broken: boolean;
  /** Something in the text was read as a comment. */
  readonly hasComment: boolean;
}

/** More than any real configuration has; a few nested aliases multiply beyond it quickly. */
const maxNodes = 20_000;
const maxDepth = 20;

/** How a path is written as the key of a map. */
export function pathKey(path: readonly PropertyKey[]): string {
  return path.map(String).join('.');
}

/** Sets an own property, also where its name is `__proto__`. */
export function setOwn(target: object, key: PropertyKey, value: unknown): void {
  Object.defineProperty(target, key, {
    value,
    writable: true,
    enumerable: true,
    configurable: true,
  });
}

class Walker {
  readonly lines = new Map<string, number>();
  readonly problems: YamlProblem[] = [];
  readonly #document: Document.Parsed;
  readonly #counter: LineCounter;
  #nodes = 0;
  #stopped = false;

  constructor(document: Document.Parsed, counter: LineCounter) {
    this.#document = document;
    this.#counter = counter;
  }

  lineOf(node: ParsedNode | null | undefined): number {
    return node ? this.#counter.linePos(node.range[0]).line : 1;
  }

  /** The value of a node; `path` is where it stands. */
  value(node: ParsedNode | null, path: readonly PropertyKey[]): unknown {
    if (this.#stopped || !node) return null;
    if (++this.#nodes > maxNodes || path.length > maxDepth) {
      this.#stopped = true;
      this.problem(
        node,
        'too many or too deeply nested values; an alias (*name) may repeat itself',
      );
      return null;
    }
    const key = pathKey(path);
    if (!this.lines.has(key)) this.lines.set(key, this.lineOf(node));
    if (isScalar(node)) return node.value;
    if (isSeq(node)) {
      return node.items.map((item, i) => this.value(item as ParsedNode, [...path, i]));
    }
    if (isMap(node)) return this.#map(node, path);
    if (!isAlias(node)) return null;
    const target = node.resolve(this.#document);
    if (target) return this.value(target as ParsedNode, path);
    this.problem(
      node,
      `*${node.source} names no anchor; put text that starts with * or & in quotes`,
    );
    return null;
  }

  problem(node: ParsedNode, message: string): void {
    this.problems.push({ line: this.lineOf(node), message });
  }

  #map(
    node: Extract<ParsedNode, { items: readonly unknown[] }>,
    path: readonly PropertyKey[],
  ): object {
    const result = {};
    const seen = new Map<string, number>();
    for (const item of node.items) {
      const pair = item as { key: ParsedNode; value: ParsedNode | null };
      if (!isScalar(pair.key)) {
        this.problem(pair.key ?? node, 'a key must be a plain name');
        continue;
      }
      const name = String(pair.key.value);
      const first = seen.get(name);
      const at = pathKey([...path, name]);
      if (first !== undefined) {
        this.problem(pair.key, `${at} is given twice, first in line ${first}: keep one`);
        continue;
      }
      const line = this.lineOf(pair.key);
      seen.set(name, line);
      this.lines.set(at, line);
      setOwn(result, name, this.value(pair.value, [...path, name]));
    }
    return result;
  }
}

/** For paths of Windows. */
export const backslashAdvice =
  'in double quotes a backslash begins a special character; write / instead, or leave the quotes out';

/** What to do about the parser's errors that people meet; others are given in its own words. */
function explain(code: string, message: string): string {
  if (code === 'TAB_AS_INDENT') return 'a tab at the start of a line: indent with spaces';
  if (message.includes('Nested mappings') || message.includes('compact mappings')) {
    return 'a second ": " in one line: put the text in quotes, or start a new line';
  }
  if (message.startsWith('Maximum call stack')) return 'too deeply nested';
  if (code === 'BAD_ALIAS') return `${message}: put text that starts with * or & in quotes`;
  if (code === 'MULTIPLE_DOCS') return 'a second document starts here (---): keep one to a file';
  if (code === 'TAG_RESOLVE_FAILED') return `${message}: put text that starts with ! in quotes`;
  if (code === 'BAD_DQ_ESCAPE') return `${message}: ${backslashAdvice}`;
  return `not valid YAML: ${message}`;
}

/** Reads a YAML 1.2 text; never throws. */
export function readYaml(text: string): YamlContent {
  const counter = new LineCounter();
  const empty = { value: null, lines: new Map<string, number>(), broken: true, hasComment: false };
  try {
    const document = parseDocument(text, {
      lineCounter: counter,
      prettyErrors: false,
      uniqueKeys: false,
      version: '1.2',
    });
    const problems = [...document.errors, ...document.warnings].map((error) => ({
      line: counter.linePos(error.pos[0]).line,
      message: explain(error.code, error.message),
    }));
    if (problems.length > 0) return { ...empty, problems };
    const walker = new Walker(document, counter);
    const value = walker.value(document.contents, []);
    const contents = document.contents;
    const hasComment = Boolean(
      document.comment || document.commentBefore || contents?.comment || contents?.commentBefore,
    );
    return { value, lines: walker.lines, problems: walker.problems, broken: false, hasComment };
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof ReferenceError)) throw error;
    return { ...empty, problems: [{ line: 1, message: 'too deeply nested' }] };
  }
}
