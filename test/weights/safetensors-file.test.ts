/** @file Reading safetensors files: sound ones, damaged ones, and what is none. */

import { execFileSync } from 'node:child_process';
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { f16Bits } from '../../src/tensor/half.ts';
import { UserError } from '../../src/tensor/user-error.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import { writeSafetensors } from '../../src/weights/safetensors-writer.ts';
import { tiny } from './golden-vectors.ts';
import { temporaryFolder } from './temporary-folder.ts';

const at = temporaryFolder();

/** A file of a header as it stands and `data` bytes 0, 1, 2, … */
function fileOf(json: string, data = 0, length = Buffer.byteLength(json)): string {
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(BigInt(length));
  const body = Uint8Array.from({ length: data }, (_, i) => i);
  writeFileSync(at('x.safetensors'), Buffer.concat([head, Buffer.from(json), body]));
  return at('x.safetensors');
}

async function messageOf(path: string): Promise<string> {
  const error: unknown = await openSafetensors(path).then(
    (file) => {
      file.close();
      return null;
    },
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UserError);
  const { message } = error as UserError;
  expect(message).not.toMatch(/\p{Cc}/u);
  expect(message.length).toBeLessThan(1000);
  expect(message).toContain(path.replaceAll(/\p{Cc}/gu, '?'));
  return message;
}

const u8 = (begin: number, end: number, shape = [end - begin]) =>
  `{"dtype":"U8","shape":[${shape}],"data_offsets":[${begin},${end}]}`;

describe('openSafetensors', () => {
  test('reads the golden file', async () => {
    writeFileSync(at('a.safetensors'), Buffer.from(tiny.expected.file_base64 ?? '', 'base64'));
    const file = await openSafetensors(at('a.safetensors'));
    expect([...file.metadata]).toEqual([...tiny.metadata]);
    expect(file.entries.size).toBe(5);
    for (const [name, tensor] of tiny.tensors) expect(await file.read(name)).toEqual(tensor);
    const up = 'lora_unet_mid_block_attentions_0_proj_in.lora_up.weight';
    expect(Array.from(await file.readF32(up))).toEqual([
      -0.0625, -0.125, -0.1875, -0.25, -0.3125, -0.375,
    ]);
    expect(file.entries.get(up)).toEqual({
      dtype: 'f16',
      stored: 'F16',
      shape: [3, 2, 1, 1],
      begin: 22,
      end: 34,
    });
    expect(Buffer.concat(Array.from(file.dataSlices(), (part) => part.slice())).length).toBe(34);
    file.close();
    file.close();
    await expect(file.read(up)).rejects.toThrow('internal');
  });

  test.each([0, 1, 2, 3, 4, 5, 6, 7])('reads data at any offset (%i)', async (spaces) => {
    const json =
      '{"h": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}, "b": {"dtype": "U8", "shape": [1], "data_offsets": [2, 3]}, ' +
      '"f": {"data_offsets": [3, 7], "shape": [1], "dtype": "F32"}, "l": {"dtype": "I64", "shape": [], "data_offsets": [7, 15]}, ' +
      `"__metadata__": {"format": "pt"}}${' '.repeat(spaces)}`;
    const file = await openSafetensors(fileOf(json, 15));
    const bytes = Uint8Array.from({ length: 15 }, (_, i) => i);
    const view = new DataView(bytes.buffer);
    expect((await file.read('h')).data).toEqual(Uint16Array.of(0x100));
    expect((await file.readF32('f'))[0]).toBe(view.getFloat32(3, true));
    expect((await file.read('l')).data).toEqual(BigInt64Array.of(view.getBigInt64(7, true)));
    expect(file.metadata.get('format')).toBe('pt');
    file.close();
  });

  test('converts a tensor larger than one slice, into a given array', async () => {
    const n = 3 * (1 << 19) + 5;
    const bits = Array.from({ length: 2048 }, (_, i) => f16Bits(i));
    const data = new Uint16Array(n);
    for (let i = 0; i < n; i++) data[i] = bits[i % 2048]!;
    await writeSafetensors(
      at('l.safetensors'),
      new Map([['a', { dtype: 'f16', shape: [n], data }]]),
    );
    const file = await openSafetensors(at('l.safetensors'));
    const room = new Float32Array(n + 2).fill(-1);
    const out = room.subarray(1, n + 1);
    expect(await file.readF32('a', out)).toBe(out);
    expect(out.every((value, i) => value === i % 2048)).toBe(true);
    expect([room[0], room[n + 1]]).toEqual([-1, -1]);
    expect(file.readF32Sync('a').every((value, i) => value === out[i])).toBe(true);
    await expect(file.readF32('a', room)).rejects.toThrow('internal');
    file.close();
  });

  test('lists a type that it does not read', async () => {
    const json =
      '{"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"NEW\\n","shape":[9],"data_offsets":[4,5]}}';
    const file = await openSafetensors(fileOf(json, 5));
    expect(file.entries.get('a')).toMatchObject({ dtype: null, stored: 'F8_E4M3', shape: [4] });
    await expect(file.read('a')).rejects.toThrow('stored as "F8_E4M3", which is not supported');
    await expect(file.readF32('b')).rejects.toThrow('stored as "NEW\\n"');
    await expect(file.readF32('c')).rejects.toThrow('there is no tensor "c"');
    file.close();
  });

  test('accepts a file without tensors', async () => {
    const file = await openSafetensors(fileOf('{}'));
    expect(file.entries.size).toBe(0);
    file.close();
  });
});

/** Headers, before 8 bytes of data, and a part of what is said of them. */
const damagedHeaders = [
  ['a key twice', `{"a":${u8(0, 4)},"a":${u8(4, 8)}}`, '"a" is there twice'],
  ['a key twice, one escaped', `{"a":${u8(0, 4)},"\\u0061":${u8(4, 8)}}`, '"a" is there twice'],
  ['overlap', `{"a":${u8(0, 4)},"b":${u8(3, 8)}}`, 'starts at byte 3 and overlaps "a"'],
  ['the same range', `{"a":${u8(0, 4)},"b":${u8(0, 4)}}`, 'overlaps'],
  ['a hole', `{"a":${u8(0, 4)},"b":${u8(5, 8)}}`, 'leaves a hole after "a"'],
  ['a hole at the start', `{"a":${u8(1, 8)}}`, 'leaves a hole after the start'],
  ['data left over', `{"a":${u8(0, 4)}}`, '4 bytes follow the last tensor'],
  ['offsets beyond the file', `{"a":${u8(0, 2 ** 40)}}`, 'bytes, 1099511627768 are missing'],
  ['offsets in reverse', `{"a":${u8(4, 0, [4])}}`, 'data_offsets are "4, 0"'],
  ['one offset', '{"a":{"dtype":"U8","shape":[8],"data_offsets":[8]}}', 'data_offsets are "8"'],
  [
    'a size that does not fit',
    `{"a":${u8(0, 8, [3])}}`,
    'U8 [3] takes 3 bytes, data_offsets give 8',
  ],
  ['a huge shape', `{"a":${u8(0, 8, [2 ** 40, 2 ** 40])}}`, 'no possible number'],
  ['a huge shape without values', `{"a":${u8(0, 0, [0, 2 ** 40, 2 ** 40])}}`, 'no possible number'],
  ['a negative size', `{"a":${u8(0, 8, [-8])}}`, 'found "-8"'],
  ['a broken size', `{"a":${u8(0, 8, [1.5])}}`, 'found "1.5"'],
  [
    'a size beyond 2^53',
    '{"a":{"dtype":"U8","shape":[9007199254740993],"data_offsets":[0,8]}}',
    '2^53',
  ],
  ['too many dimensions', `{"a":${u8(0, 8, new Array(33).fill(1))}}`, 'more than 32'],
  ['no dtype', '{"a":{"shape":[8],"data_offsets":[0,8]}}', 'lacks dtype'],
  ['no shape', '{"a":{"dtype":"U8","data_offsets":[0,8]}}', 'lacks shape'],
  [
    'an unknown field',
    '{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8],"x":1}}',
    'unknown field "x"',
  ],
  [
    'a dtype that is no text',
    '{"a":{"dtype":8,"shape":[8],"data_offsets":[0,8]}}',
    'expected a text',
  ],
  ['an entry that is no object', '{"a":[0,8]}', 'expected {'],
  [
    'metadata of numbers',
    `{"__metadata__":{"v":1},"a":${u8(0, 8)}}`,
    'metadata "v": expected a text',
  ],
  ['metadata that is a list', `{"__metadata__":[],"a":${u8(0, 8)}}`, 'expected {'],
  ['metadata twice', '{"__metadata__":{},"__metadata__":{}}', '"__metadata__" is there twice'],
  ['a metadata key twice', '{"__metadata__":{"k":"1","k":"2"}}', '"k" is there twice'],
  ['no end', `{"a":${u8(0, 8)}`, 'found its end'],
  ['no end of a text', '{"a', 'without an end'],
  ['a bad escape', '{"\\q":1}', 'JSON does not allow'],
  ['text behind', `{"a":${u8(0, 8)}}x`, 'after the end'],
  ['a comma too many', `{"a":${u8(0, 8)},}`, 'expected a text'],
  ['deep nesting', `{"a":${'['.repeat(100_000)}`, 'expected {'],
] as const;

describe('a damaged file', () => {
  const full = `{"a":${u8(0, 4)},"b":${u8(4, 8)}}`;

  test('that is cut off says how much is missing', async () => {
    const path = fileOf(full, 8);
    truncateSync(path, 8 + full.length + 5);
    const message = await messageOf(path);
    expect(message).toContain(`it has ${8 + full.length + 5} bytes, 3 are missing at its end`);
    expect(message).toContain('the download or copy stopped early');
    truncateSync(path, 20);
    expect(await messageOf(path)).toContain(`at least ${8 + full.length - 20} are missing`);
    truncateSync(path, 7);
    expect(await messageOf(path)).toContain('7 bytes are too few');
    truncateSync(path, 0);
    expect(await messageOf(path)).toContain('the file is empty');
  });

  test('that shrinks after it was opened', async () => {
    const file = await openSafetensors(fileOf(full, 8));
    truncateSync(file.path, file.size - 2);
    await expect(file.read('b')).rejects.toThrow('became shorter');
    expect(() => file.readSync('b')).toThrow('became shorter');
    file.close();
  });

  test.each([
    ['header length 0', full, 0],
    ['header length beyond the limit', full, 100_000_001],
  ])('%s', async (_, json, length) => {
    expect(await messageOf(fileOf(json, 8, length))).toContain('not a safetensors file');
  });

  test.each(damagedHeaders)('%s', async (_, json, what) => {
    expect(await messageOf(fileOf(json, 8))).toContain(what);
  });

  test('that is not UTF-8, or not an object', async () => {
    expect(await messageOf(fileOf('[]      '))).toContain('not a safetensors file');
    const path = fileOf('{"a":1}');
    writeFileSync(path, Buffer.from([4, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x22, 0xff, 0x7d]));
    expect(await messageOf(path)).toContain('not UTF-8');
  });

  test('with a name that would fill the screen', async () => {
    const json = `{"${'\\n\\u001b[2J'.repeat(10_000)}":1}`;
    await messageOf(fileOf(json));
  });
});

describe('what is no safetensors file', () => {
  const openFirst = async (bytes: number[] | string, name = 'model.ckpt') => {
    const head = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : Buffer.from(bytes);
    writeFileSync(at(name), Buffer.concat([head, Buffer.alloc(200, 1)]));
    return messageOf(at(name));
  };

  test('a pickle gets the way to convert it', async () => {
    const message = await openFirst('PK\x03\x04\0\0\x08\x08\0\0');
    expect(message).toContain('pickle');
    expect(message).toContain(`"${at('model.ckpt')}" "${at('model.safetensors')}"`);
    expect(await openFirst([0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9])).toContain(
      'pickle',
    );
    expect(await openFirst('PK\x03\x04\0\0\x08\x08\0\0', 'renamed.safetensors')).toContain(
      'pickle',
    );
  });

  test('others are named too', async () => {
    expect(await openFirst('version https://git-lfs.github.com/spec/v1\n')).toContain(
      'LFS pointer',
    );
    expect(await openFirst('<!DOCTYPE html><html>')).toContain('web page');
    expect(await openFirst('GGUF\x03\0\0\0\0\0')).toContain('GGUF');
    expect(await openFirst('\x89PNG\r\n\x1a\n\0\0')).toContain('not a safetensors file');
  });

  test('a header whose length looks like a pickle is none', async () => {
    // 640 = 0x0280, the first bytes of a pickle of protocol 2.
    const json = `{"a":${u8(0, 8)}}`.padEnd(640);
    const file = await openSafetensors(fileOf(json, 8));
    expect(file.entries.size).toBe(1);
    file.close();
  });

  test('folders, missing files, pipes', async () => {
    mkdirSync(at('folder.safetensors'));
    expect(await messageOf(at('folder.safetensors'))).toContain('this is a folder');
    expect(await messageOf(at('none.safetensors'))).toContain('no such file; check the path');
    expect(await messageOf(at('none', 'a\nb.safetensors'))).toContain('no such file');
    await expect(openSafetensors('a\0b')).rejects.toThrow(UserError);
  });

  test.runIf(process.platform === 'linux')('a pipe is refused, not waited for', async () => {
    execFileSync('mkfifo', [at('pipe.safetensors')]);
    expect(await messageOf(at('pipe.safetensors'))).toContain('no ordinary file');
  });
});
