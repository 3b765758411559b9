/**
 * @file Reads the header of a safetensors file. A strict parser of this one shape of JSON, because
 * a general one hides duplicate keys and builds whatever a hostile file asks for.
 */

import type { DType } from '../tensor/dtype.ts';
import type { Shape } from '../tensor/shape.ts';
import { UserError } from '../tensor/user-error.ts';
import { oneLine, shown } from './file-error.ts';
import { storedType } from './stored-types.ts';

/** One tensor of a file. */
export interface SafetensorsEntry {
  /** Our dtype, or null for a type that is listed but can't be read (8-bit floats and such). */
  readonly dtype: DType | null;
  /** The type as the file names it, such as `F16`. */
  readonly stored: string;
  readonly shape: Shape;
  /** First byte, counted from the start of the data section. */
  readonly begin: number;
  /** One past the last byte. */
  readonly end: number;
}

/** Free text of a file, in the file's order. */
export type Metadata = ReadonlyMap<string, string>;

/** The parsed and checked header. */
export interface SafetensorsHeader {
  /** By name, in the order of the data. */
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: Metadata;
}

/** Far beyond any real file; they keep a hostile header from filling the memory. */
const maxKeys = 500_000;
const maxDimensions = 32;

const isSpace = (code: number) => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;

/** Walks over the text of a header; every method starts at the next character that is no space. */
class HeaderText {
  readonly #text: string;
  readonly #path: string;
  #at = 0;

  constructor(text: string, path: string) {
    this.#text = text;
    this.#path = path;
  }

  /** Whether the next character is `char`, which is then passed over. */
  takes(char: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#at] !== char) return false;
    this.#at++;
    return true;
  }

  expect(char: string, where: string): void {
    if (!this.takes(char)) throw this.bad(`${where}: expected ${char}, found ${this.#next()}`);
  }

  end(): void {
    this.#skipSpace();
    if (this.#at < this.#text.length) {
      throw this.bad(`text after the end of the header: ${this.#next()}`);
    }
  }

  string(where: string): string {
    if (!this.takes('"')) throw this.bad(`${where}: expected a text, found ${this.#next()}`);
    const start = this.#at - 1;
    let close = this.#at;
    for (;;) {
      close = this.#text.indexOf('"', close);
      if (close < 0) throw this.bad(`${where}: a text without an end`);
      let backslashes = 0;
      while (this.#text[close - 1 - backslashes] === '\\') backslashes++;
      close++;
      if (backslashes % 2 === 0) break;
    }
    this.#at = close;
    try {
      return JSON.parse(this.#text.slice(start, close)) as string;
    } catch {
      throw this.bad(`${where}: a text with characters that JSON does not allow`);
    }
  }

  /** A whole number from 0 to 2^53 - 1. */
  integer(where: string): number {
    this.#skipSpace();
    let stop = this.#at;
    while (/[-+.\w]/.test(this.#text[stop] ?? '') && stop - this.#at < 40) stop++;
    const text = this.#text.slice(this.#at, stop);
    const value = Number(text);
    if (!/^(0|[1-9]\d*)$/.test(text) || !Number.isSafeInteger(value)) {
      throw this.bad(
        `${where}: expected a whole number from 0 to 2^53 - 1, found ${text ? shown(text) : this.#next()}`,
      );
    }
    this.#at = stop;
    return value;
  }

  /** Calls `item` for each element of a list. */
  list(where: string, item: () => void): void {
    this.expect('[', where);
    if (this.takes(']')) return;
    let count = 0;
    do {
      if (++count > maxDimensions) throw this.bad(`${where}: more than ${maxDimensions} numbers`);
      item();
    } while (this.takes(','));
    this.expect(']', where);
  }

  /** Calls `field` for each key of an object; refuses a key that comes twice. */
  object(where: string, field: (key: string) => void): void {
    this.expect('{', where);
    if (this.takes('}')) return;
    const seen = new Set<string>();
    do {
      const key = this.string(where);
      if (seen.has(key)) throw this.bad(`${where}: ${shown(key)} is there twice`);
      seen.add(key);
      if (seen.size > maxKeys) throw this.bad(`${where}: more than ${maxKeys} keys`);
      this.expect(':', shown(key));
      field(key);
    } while (this.takes(','));
    this.expect('}', where);
  }

  bad(what: string): UserError {
    return new UserError(
      `${oneLine(this.#path)}: the safetensors header is damaged (${what}); get the file again`,
    );
  }

  #skipSpace(): void {
    while (isSpace(this.#text.charCodeAt(this.#at))) this.#at++;
  }

  #next(): string {
    const rest = this.#text.slice(this.#at, this.#at + 12);
    return rest ? shown(rest) : 'its end';
  }
}

/** Bytes of a tensor, infinite where no file could have them; null where the type is not known. */
function byteSize(stored: string, shape: Shape): number | null {
  // Without the zeros, so that the others are held to what a number can count, as other readers do.
  const elements = shape.reduce((n, d) => n * (d || 1), 1);
  const type = storedType(stored);
  const bytes = (elements * (type?.bits ?? 8)) / 8;
  if (!Number.isSafeInteger(elements)) return Number.POSITIVE_INFINITY;
  if (!type) return null;
  if (shape.includes(0)) return 0;
  return Number.isSafeInteger(bytes) ? bytes : Number.POSITIVE_INFINITY;
}

function parseEntry(text: HeaderText, name: string): SafetensorsEntry {
  const where = shown(name);
  let stored: string | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  text.object(where, (key) => {
    if (key === 'dtype') stored = text.string(`${where} dtype`);
    else if (key === 'shape') {
      const sizes: number[] = [];
      text.list(`${where} shape`, () => sizes.push(text.integer(`${where} shape`)));
      shape = sizes;
    } else if (key === 'data_offsets') {
      const ends: number[] = [];
      text.list(`${where} data_offsets`, () => ends.push(text.integer(`${where} data_offsets`)));
      offsets = ends;
    } else throw text.bad(`${where}: unknown field ${shown(key)}`);
  });
  if (stored === undefined || !shape || !offsets) {
    throw text.bad(`${where} lacks ${!stored ? 'dtype' : !shape ? 'shape' : 'data_offsets'}`);
  }
  const [begin, end] = offsets;
  if (offsets.length !== 2 || begin === undefined || end === undefined || end < begin) {
    throw text.bad(`${where}: data_offsets are ${shown(offsets.join(', '))}`);
  }
  const size = byteSize(stored, shape);
  if (size !== null && size !== end - begin) {
    const expected = Number.isFinite(size) ? `${size} bytes` : 'no possible number of bytes';
    throw text.bad(
      `${where}: ${stored} [${shape.join(', ')}] takes ${expected}, data_offsets give ${end - begin}`,
    );
  }
  return { dtype: storedType(stored)?.dtype ?? null, stored, shape, begin, end };
}

/** Refuses data ranges that overlap or leave a hole; returns the entries in order of their data. */
function inDataOrder(
  text: HeaderText,
  entries: ReadonlyMap<string, SafetensorsEntry>,
): Map<string, SafetensorsEntry> {
  const sorted = [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let end = 0;
  let before = 'the start of the data';
  for (const [name, entry] of sorted) {
    if (entry.begin !== end) {
      const what = entry.begin < end ? 'overlaps' : 'leaves a hole after';
      throw text.bad(`${shown(name)} starts at byte ${entry.begin} and ${what} ${before}`);
    }
    end = entry.end;
    before = `${shown(name)}, which ends at byte ${end}`;
  }
  return new Map(sorted);
}

/**
 * Parses a header and checks all that can be checked without the data: known fields, sizes,
 * ranges that tile the data section, texts for metadata, no key twice.
 * @param json the header, `{` to `}` and perhaps spaces
 * @param path for messages
 * @throws UserError
 */
export function parseSafetensorsHeader(json: string, path: string): SafetensorsHeader {
  const text = new HeaderText(json, path);
  const entries = new Map<string, SafetensorsEntry>();
  const metadata = new Map<string, string>();
  text.object('the header', (name) => {
    if (name !== '__metadata__') {
      entries.set(name, parseEntry(text, name));
      return;
    }
    text.object('__metadata__', (key) => metadata.set(key, text.string(`metadata ${shown(key)}`)));
  });
  text.end();
  return { entries: inDataOrder(text, entries), metadata };
}
