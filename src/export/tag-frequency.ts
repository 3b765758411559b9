/** @file Counts the tags of captions for `ss_tag_frequency`, and keeps the table small. */

import { pyJson } from './python-text.ts';

/** Folder's name → tag → number of its captions that have the tag. */
export type TagFrequency = ReadonlyMap<string, ReadonlyMap<string, number>>;

/** Tags of one folder: captions split at commas, trimmed, in lower case; repeats don't count. */
export function countTags(captions: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const caption of captions) {
    const tags = caption.split(',').map((tag) => tag.trim().toLowerCase());
    for (const tag of new Set(tags)) if (tag) counts.set(tag, (counts.get(tag) ?? 0) + 1);
  }
  return counts;
}

/** Bytes that a piece of JSON takes in the header of a file, where it is inside a JSON text. */
const headerBytes = (json: string) => Buffer.byteLength(JSON.stringify(json)) - 2;

/**
 * The table, or where it would take more than `maxBytes` of the header, its most frequent tags.
 * Folders stay, be it without tags; the order of what is kept does not change.
 */
export function capTagFrequency(table: TagFrequency, maxBytes: number): TagFrequency {
  if (headerBytes(pyJson(table)) <= maxBytes) return table;
  const ranked = [...table]
    .flatMap(([folder, tags]) => Array.from(tags, ([tag, count]) => ({ folder, tag, count })))
    .sort((a, b) => b.count - a.count);
  const kept = new Map(Array.from(table.keys(), (folder) => [folder, new Set<string>()]));
  let left = maxBytes - headerBytes(pyJson(new Map([...kept.keys()].map((name) => [name, {}]))));
  for (const { folder, tag, count } of ranked) {
    left -= headerBytes(`${pyJson(tag)}: ${count}, `);
    if (left < 0) break;
    kept.get(folder)?.add(tag);
  }
  return new Map(
    Array.from(table, ([folder, tags]) => [
      folder,
      new Map([...tags].filter(([tag]) => kept.get(folder)?.has(tag))),
    ]),
  );
}
