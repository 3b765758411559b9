/** @file The key that somebody meant who wrote one that does not exist. */

import { allKeys, keysOf, schemaAt } from './config-json-schema.ts';
import { findKohyaName } from './kohya-names.ts';

/** Edits (insert, delete, replace, swap two neighbours) from one text to another. */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min(last[j - 1]! + (same ? 0 : 1), last[j]! + 1, row[j - 1]! + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, before[j - 2]! + 1);
      }
      row.push(best);
    }
    before = last;
    last = row;
  }
  return last[b.length]!;
}

/** The one of `names` nearest to `written`, or undefined where none is near. */
export function nearest(written: string, names: readonly string[]): string | undefined {
  const plain = (name: string) => name.toLowerCase().replace(/[^\p{L}\p{N}]/gu, '');
  const target = plain(written);
  let best: string | undefined;
  let bound = Math.max(1, Math.floor(target.length / 3)) + 0.5;
  for (const name of names) {
    const distance = editDistance(target, plain(name));
    if (distance < bound) {
      best = name;
      bound = distance;
    }
  }
  return best;
}

/** What to say of an unknown key. */
export interface KeySuggestion {
  /** The key that was probably meant, as `train.learningRate`. */
  readonly key: string | null;
  readonly hint: string;
}

/** Names the key meant by `key` in the section at `path`: kohya's name, a near one, one of another section. */
export function suggestKey(path: readonly PropertyKey[], key: string): KeySuggestion {
  const kohya = findKohyaName(key);
  if (kohya && !kohya.key?.endsWith(`.${key}`)) {
    const note = kohya.note ? ` (${kohya.note})` : '';
    const hint = kohya.key
      ? `kohya's ${kohya.option} is ${kohya.key} here${note}`
      : `kohya's ${kohya.option} has no counterpart here${note}: leave it out`;
    return { key: kohya.key, hint };
  }
  // Of keys of the same name the one with the shortest path is meant: data.triggerWord, not a folder's.
  const depth = (path: string) => path.split('.').length;
  const keys = allKeys()
    .map((entry) => entry.path)
    .sort((a, b) => depth(a) - depth(b));
  const section = path
    .map((part) => (typeof part === 'number' ? '[]' : `.${String(part)}`))
    .join('');
  const prefix = section ? `${section.slice(1)}.` : '';
  const here = Object.keys(keysOf(schemaAt(path)));
  const lastName = (path: string) => path.slice(path.lastIndexOf('.') + 1);

  const near = nearest(key, here);
  const elsewhere = nearest(key, keys.map(lastName));
  const same = elsewhere?.toLowerCase() === key.toLowerCase();
  const meant =
    near && (!same || editDistance(near.toLowerCase(), key.toLowerCase()) <= 1)
      ? prefix + near
      : keys.find((path) => elsewhere !== undefined && lastName(path) === elsewhere);
  if (meant) return { key: meant, hint: `did you mean ${meant}?` };
  if (key === '<<') return { key: null, hint: 'merge keys are not read: write the keys out' };
  return { key: null, hint: here.length ? `the keys here are ${here.join(', ')}` : 'remove it' };
}
