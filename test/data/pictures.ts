/** @file Draws the pictures of the data tests: flat colours, halves, and PNGs of any depth. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32, deflateSync } from 'node:zlib';
import sharp, { type Sharp } from 'sharp';
import { onTestFinished } from 'vitest';

/** A folder that goes with the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sdl-train-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** One colour all over. */
export function flat(width: number, height: number, background = '#c86432'): Sharp {
  return sharp({ create: { width, height, channels: 3, background } });
}

/** Red on the left, blue on the right. */
export function redBlue(width: number, height: number): Sharp {
  const data = Buffer.alloc(width * height * 3);
  for (let i = 0; i < width * height; i++) data[3 * i + (i % width < width / 2 ? 0 : 2)] = 255;
  return sharp(data, { raw: { width, height, channels: 3 } });
}

/** Soft noise, which does not compress to nothing. */
export function noise(width: number, height: number, seed = 1): Sharp {
  const data = Buffer.alloc(width * height * 3);
  let state = seed;
  for (let i = 0; i < data.length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    data[i] = state >>> 24;
  }
  return sharp(data, { raw: { width, height, channels: 3 } }).blur(2);
}

function chunk(type: string, data: Buffer): Buffer {
  const out = Buffer.alloc(12 + data.length);
  out.writeUInt32BE(data.length, 0);
  out.write(type, 4, 'latin1');
  data.copy(out, 8);
  out.writeUInt32BE(crc32(out.subarray(4, 8 + data.length)), 8 + data.length);
  return out;
}

/** PNG colour types by channels; a palette's pixels are indices into it. */
export interface PngOptions {
  readonly width: number;
  readonly height: number;
  readonly depth: 1 | 8 | 16;
  readonly colourType: 0 | 2 | 3 | 4 | 6;
  /** Bytes of each row. */
  readonly row: Buffer;
  readonly chunks?: readonly (readonly [type: string, data: Buffer])[];
}

/** A PNG whose rows are all alike, written byte by byte: sharp's own writer would convert. */
export function png({ width, height, depth, colourType, row, chunks = [] }: PngOptions): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = depth;
  header[9] = colourType;
  const rows = Array.from({ length: height }, () => Buffer.concat([Buffer.of(0), row]));
  return Buffer.concat([
    Buffer.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
    chunk('IHDR', header),
    ...chunks.map(([type, data]) => chunk(type, data)),
    chunk('IDAT', deflateSync(Buffer.concat(rows))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** `values`, big-endian, 16 bits each, over and over: a row of a 16-bit PNG. */
export function row16(width: number, values: readonly number[]): Buffer {
  const row = Buffer.alloc(2 * width * values.length);
  for (let i = 0; i < width * values.length; i++) {
    row.writeUInt16BE(values[i % values.length] ?? 0, 2 * i);
  }
  return row;
}
