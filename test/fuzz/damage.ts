/** @file Wounds for the files of the fuzz tests: drawn from a seeded `Rng`, so that every case repeats. */

import type { Rng } from '../../src/tensor/rng.ts';

/** One of `items`. */
export function pick<T>(rng: Rng, items: readonly T[]): T {
  return items[rng.integer(items.length)]!;
}

/** Pieces of text that parsers of headers, JSON and YAML stumble over. */
const textSnippets: readonly string[] = [
  '"', '\\', '{', '}', '[', ']', ',', ':', ' ', '\n', '\t', '\r', '\0', '#', '&a ', '*a', '!!binary ', '- ', '? ', '---\n', '|', '>',
  '0', '-1', '1e9', '-0', '.inf', '.nan', '0x1F', '1_000', '9007199254740993', '99999999999999999999', 'null', 'true', '~',
  '"F64"', '"F4"', '"F6_E2M3"', '"X"', '"__metadata__":{},', '"__proto__":', '\\u0000', '\\ud800', '[[[[[[[[', '{"a":', '<<: ',
  '"dtype":"F32",', '"shape":[],', '"shape":[1000000000,0],', '"data_offsets":[0,0],', '\u00e9', '\u{1f600}', '\u202e', '\u2028', '\ufeff', '\ufffd',
]; // biome-ignore format: a list of fragments

/** `bytes` with one to four wounds: changed, cut out, doubled, cut off, or with a snippet put in. */
export function damagedBytes(
  rng: Rng,
  bytes: Buffer,
  snippets: readonly string[] = textSnippets,
): Buffer {
  let result = Buffer.from(bytes);
  for (let wounds = rng.integer(4); wounds >= 0; wounds--) {
    const start = rng.integer(result.length + 1);
    const end = Math.min(start + rng.integer(40), result.length);
    const part = result.subarray(start, end);
    const put = (...parts: readonly Uint8Array[]) =>
      Buffer.concat([result.subarray(0, start), ...parts, result.subarray(end)]);
    const kind = rng.integer(6);
    if (kind === 0) result.fill(rng.integer(256), start, Math.min(start + 1, result.length));
    else if (kind === 1) result = put();
    else if (kind === 2) result = put(part, part);
    else if (kind === 3) result = put(Buffer.from(pick(rng, snippets)));
    else if (kind === 4) result = put(Buffer.from(part).reverse());
    // Cutting off most of it leaves little to find, so it is rarer.
    else if (rng.integer(3) === 0) result = result.subarray(0, start);
  }
  return result;
}

/** Values that a reader of JSON expects least. */
const oddValues: readonly unknown[] = [
  null, true, false, 0, -1, 1.5, -0, 1e300, 2 ** 53, '', ' ', '0', 'NaN', '\u0000', '\u001b[2J', 'x'.repeat(5000), [], [[]], {}, [null],
  { toString: 1, valueOf: 1 }, { length: -1 }, { constructor: null }, { hasOwnProperty: 1 }, [{ toString: 1 }], { '': {} },
]; // biome-ignore format: a list of values

/** A copy of a JSON value in which one value, at a random depth, is odd, missing, or doubled. */
export function damagedJson(rng: Rng, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || rng.integer(5) === 0) {
    return pick(rng, oddValues);
  }
  const entries = Object.entries(value);
  if (entries.length === 0) return pick(rng, oddValues);
  const at = rng.integer(entries.length);
  const [key, inner] = entries[at]!;
  const kind = rng.integer(8);
  if (kind === 0) entries.splice(at, 1);
  else if (kind === 1) entries.push([`${key}${rng.integer(9)}`, inner]);
  else if (kind === 2) entries.push(['__proto__', pick(rng, oddValues)]);
  else entries[at] = [key, damagedJson(rng, inner)];
  if (Array.isArray(value)) return entries.map(([, item]) => item);
  return Object.fromEntries(entries);
}

/** A text that is rarely as people write: any code points, often odd ones, single surrogates among them. */
export function oddText(rng: Rng, length: number): string {
  let text = '';
  while (text.length < length) {
    const kind = rng.integer(6);
    if (kind < 2) text += String.fromCharCode(32 + rng.integer(95));
    else if (kind === 2) text += pick(rng, textSnippets);
    else if (kind === 3) text += String.fromCharCode(rng.integer(0x10000));
    else if (kind === 4) text += String.fromCodePoint(rng.integer(0x110000));
    else text += pick(rng, ['\u0301', '\u200d', '\u3000', 'ß', 'İ', 'ﬀ', '<|endoftext|>', "'s", '(((', '&amp;']);
  } // biome-ignore format: one line a kind
  return text;
}
