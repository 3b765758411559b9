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

/** Bytes that a table takes in the header of a file, where its JSON is itself a JSON text. */
function headerBytes(table: TagFrequency): number {
  return Buffer.byteLength(JSON.stringify(pyJson(table)));
}

/**
 * The table, or where it would take more than `maxBytes` of the header, its most frequent tags.
 * Folders stay, be it without tags; the order of what is kept does not change.
 */
export function capTagFrequency(table: TagFrequency, maxBytes: number): TagFrequency {
  if (headerBytes(table) <= maxBytes) return table;
  const ranked = [...table]
    .flatMap(([folder, tags]) => Array.from(tags, ([tag, count]) => ({ folder, tag, count })))
    .sort((a, b) => b.count - a.count);

  const top = (size: number): TagFrequency => {
    const kept = new Map(Array.from(table.keys(), (folder) => [folder, new Set<string>()]));
    for (const { folder, tag } of ranked.slice(0, size)) kept.get(folder)?.add(tag);
    return new Map(
      Array.from(table, ([folder, tags]) => [
        folder,
        new Map([...tags].filter(([tag]) => kept.get(folder)?.has(tag))),
      ]),
    );
  };

  let fits = 0;
  let tooMany = ranked.length;
  while (tooMany - fits > 1) {
    const middle = (fits + tooMany) >> 1;
    if (headerBytes(top(middle)) <= maxBytes) fits = middle;
    else tooMany = middle;
  }
  return top(fits);
}
