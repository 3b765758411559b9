/** @file Writes safetensors files, byte for byte as the safetensors crate (0.3.1 and later) does. */

import { type DType, dtypeBytes } from '../tensor/dtype.ts';
import { type Shape, sizeOf } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { writeFileAtomic } from './atomic-write.ts';
import type { Metadata } from './safetensors-header.ts';
import { storedAs } from './stored-types.ts';

/** What the header says of a tensor. */
export interface TensorInfo {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** A text without halves of surrogate pairs, which other readers of JSON refuse. */
const wellFormed = (text: string) => Buffer.from(text, 'utf8').toString('utf8');

const quoted = (text: string) => JSON.stringify(wellFormed(text));

/** Names in the order of the data: by dtype, highest rank first, then by bytes. */
export function safetensorsOrder(tensors: ReadonlyMap<string, TensorInfo>): string[] {
  const keys = Array.from(tensors, ([name, { dtype }]) => ({
    name,
    bytes: Buffer.from(name, 'utf8'),
    rank: storedAs(dtype).rank,
  }));
  return keys
    .sort((a, b) => a.rank - b.rank || Buffer.compare(a.bytes, b.bytes))
    .map(({ name }) => name);
}

/**
 * The start of a file up to its data: the header's length (8 bytes), then the header: compact JSON,
 * metadata first and in the order given, padded with spaces to a multiple of 8.
 */
export function serializeHeader(
  tensors: ReadonlyMap<string, TensorInfo>,
  metadata?: Metadata,
): Uint8Array {
  const fields: string[] = [];
  if (metadata) {
    const pairs = Array.from(metadata, ([key, value]) => `${quoted(key)}:${quoted(value)}`);
    fields.push(`"__metadata__":{${pairs.join(',')}}`);
  }
  let begin = 0;
  for (const name of safetensorsOrder(tensors)) {
    if (name === '__metadata__') throw new Error('internal: a tensor called __metadata__');
    const { dtype, shape } = tensors.get(name)!;
    const end = begin + sizeOf(shape) * dtypeBytes[dtype];
    fields.push(
      `${quoted(name)}:{"dtype":"${storedAs(dtype).tag}","shape":[${shape.join(',')}],"data_offsets":[${begin},${end}]}`,
    );
    begin = end;
  }
  const json = Buffer.from(`{${fields.join(',')}}`, 'utf8');
  const length = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}

/** The bytes of the tensors in the order of the file; views, not copies. */
export function dataChunks(tensors: ReadonlyMap<string, Tensor>): Uint8Array[] {
  return safetensorsOrder(tensors).map((name) => {
    const { dtype, shape, data } = tensors.get(name)!;
    if (data.length !== sizeOf(shape) || data.BYTES_PER_ELEMENT !== dtypeBytes[dtype]) {
      throw new Error(`internal: ${data.length} values for ${name} ${dtype} [${shape}]`);
    }
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  });
}

/**
 * Writes a file, wholly or not at all.
 * @throws UserError where the disk is full, read-only, not permitted, …
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  metadata?: Metadata,
): Promise<void> {
  await writeFileAtomic(path, [serializeHeader(tensors, metadata), ...dataChunks(tensors)]);
}
