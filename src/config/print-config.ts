/** @file The whole configuration of a run as YAML, with the origin of each value beside it. */

import { Document, isMap, isScalar, isSeq, type Node, type Scalar } from 'yaml';
import type { LoadedConfig } from './load-config.ts';
import { pathKey } from './read-yaml.ts';

/** `file:line`, `--set …`, `default`, or `default (lora.rank)` where it follows from another value. */
export function originOf({ sources, derived }: LoadedConfig, path: readonly PropertyKey[]): string {
  const key = pathKey(path);
  const from = derived.get(key);
  const source = sources.get(key) ?? promptSource(sources, path);
  if (from) return `${source ?? 'default'} (${from})`;
  return source ?? 'default';
}

/** A prompt that was given as a plain text has the origin of that text. */
function promptSource(sources: ReadonlyMap<string, string>, path: readonly PropertyKey[]) {
  const [section, list, , key] = path;
  const entry = pathKey(path.slice(0, 3));
  if (section !== 'preview' || list !== 'prompts' || key !== 'prompt') return undefined;
  return sources.get(entry);
}

/** Comments a value of the document, or the values in it. */
function comment(node: Node | null, path: readonly PropertyKey[], loaded: LoadedConfig): void {
  if (isMap(node)) {
    for (const { key, value } of node.items) {
      comment(value as Node | null, [...path, (key as Scalar<string>).value], loaded);
    }
    return;
  }
  if (isSeq(node) && node.items.some((item) => !isScalar(item))) {
    node.items.forEach((item, i) => {
      comment(item as Node, [...path, i], loaded);
    });
    return;
  }
  if (isSeq(node)) node.flow = true;
  // A text of several lines would push its comment to another line.
  if (isScalar(node) && typeof node.value === 'string' && /[\n\r]/.test(node.value)) {
    node.type = 'QUOTE_DOUBLE';
  }
  if (node) node.comment = ` ${originOf(loaded, path)}`;
}

/** The configuration as YAML with comments; read as a configuration it gives the same values. */
export function printConfig(loaded: LoadedConfig): string {
  const document = new Document(loaded.config, { aliasDuplicateObjects: false });
  comment(document.contents as Node, [], loaded);
  return document.toString({ lineWidth: 0, flowCollectionPadding: false });
}
