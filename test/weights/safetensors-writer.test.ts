/** @file The bytes of written files, against golden files made by two other writers. */

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { f32, i32, type Tensor } from '../../src/tensor/tensor.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import {
  safetensorsOrder,
  serializeHeader,
  writeSafetensors,
} from '../../src/weights/safetensors-writer.ts';
import { tiny } from './golden-vectors.ts';
import { temporaryFolder } from './temporary-folder.ts';

const at = temporaryFolder();
const textOf = (header: Uint8Array) => Buffer.from(header.subarray(8)).toString();

describe('writeSafetensors', () => {
  test('writes the golden file byte for byte', async () => {
    await writeSafetensors(at('a.safetensors'), tiny.tensors, tiny.metadata);
    const bytes = readFileSync(at('a.safetensors'));
    expect(bytes.toString('base64')).toBe(tiny.expected.file_base64);
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(tiny.expected.file_sha256);
    expect(readdirSync(at())).toEqual(['a.safetensors']);
  });

  test('reads back what it wrote, of every dtype', async () => {
    const tensors = new Map<string, Tensor>([
      ['f64', { dtype: 'f64', shape: [2], data: Float64Array.of(0.1, -2) }],
      ['f32', f32([2, 1], [0.5, Number.NaN])],
      ['f16', { dtype: 'f16', shape: [], data: Uint16Array.of(0x3c00) }],
      ['bf16', { dtype: 'bf16', shape: [1], data: Uint16Array.of(0x3f80) }],
      ['i64', { dtype: 'i64', shape: [1], data: BigInt64Array.of(-(2n ** 40n)) }],
      ['i32', i32([1], [7])],
      ['i16', { dtype: 'i16', shape: [1], data: Int16Array.of(-300) }],
      ['i8', { dtype: 'i8', shape: [3], data: Int8Array.of(-1, 2, 3) }],
      ['u8', { dtype: 'u8', shape: [1], data: Uint8Array.of(200) }],
      ['bool', { dtype: 'bool', shape: [2], data: Uint8Array.of(1, 0) }],
      ['empty', f32([0, 3])],
    ]);
    await writeSafetensors(at('all.safetensors'), tensors);
    const file = await openSafetensors(at('all.safetensors'));
    for (const [name, tensor] of tensors) {
      expect(await file.read(name)).toEqual(tensor);
      expect(file.readSync(name)).toEqual(tensor);
    }
    expect(Array.from(await file.readF32('i64'))).toEqual([-(2 ** 40)]);
    expect(Array.from(await file.readF32('i8'))).toEqual([-1, 2, 3]);
    expect(Array.from(await file.readF32('f64'))).toEqual([Math.fround(0.1), -2]);
    expect(file.metadata.size).toBe(0);
    file.close();
  });

  test('takes a view into a larger array', async () => {
    const data = Float32Array.of(1, 2, 3, 4).subarray(1, 3);
    await writeSafetensors(at('view.safetensors'), new Map([['a', f32([2], data)]]));
    const file = await openSafetensors(at('view.safetensors'));
    expect(Array.from(file.readF32Sync('a'))).toEqual([2, 3]);
    file.close();
  });
});

describe('serializeHeader', () => {
  const info = { dtype: 'f32', shape: [1] } as const;

  test('orders by dtype, then by bytes of the name', () => {
    const names = ['a_10_', 'a_1_', 'a_2_', 'B', '\uff5e', '\u{1f600}'];
    const tensors = new Map(names.map((name) => [name, info] as const));
    // A surrogate pair sorts before U+FF5E by 16-bit units, behind it by bytes.
    expect(safetensorsOrder(tensors)).toEqual([
      'B',
      'a_10_',
      'a_1_',
      'a_2_',
      '\uff5e',
      '\u{1f600}',
    ]);
    const types = (
      ['bool', 'f16', 'i8', 'f32', 'i64', 'bf16', 'u8', 'f64', 'i16', 'i32'] as const
    ).map((dtype) => [dtype, { dtype, shape: [] }] as const);
    expect(safetensorsOrder(new Map(types))).toEqual([
      'i64',
      'f64',
      'f32',
      'i32',
      'bf16',
      'f16',
      'i16',
      'i8',
      'u8',
      'bool',
    ]);
  });

  test.each([0, 1, 2, 3, 4, 5, 6, 7, 8])('pads with spaces to a multiple of 8 (%i)', (extra) => {
    const header = serializeHeader(new Map([['x'.repeat(extra + 1), info]]));
    expect(header.length % 8).toBe(0);
    expect(textOf(header)).toMatch(/^\{"x.*\} {0,7}$/);
    expect(Number(new DataView(header.buffer).getBigUint64(0, true))).toBe(header.length - 8);
  });

  test('keeps the order of metadata, whatever the keys look like', () => {
    const metadata = new Map([
      ['b', '1'],
      ['2', 'x'],
      ['1', 'y'],
      ['__proto__', 'z'],
    ]);
    expect(textOf(serializeHeader(new Map(), metadata)).trimEnd()).toBe(
      '{"__metadata__":{"b":"1","2":"x","1":"y","__proto__":"z"}}',
    );
  });

  test('never writes half a surrogate pair', () => {
    const header = serializeHeader(new Map(), new Map([['a', 'x\ud83d']]));
    expect(textOf(header)).toContain('"x\ufffd"');
  });
});
