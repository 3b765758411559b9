/** @file Model files that are sound as files, and wrong in their tensors' names, shapes, types or texts. */

import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import type { Rng } from '../../src/tensor/rng.ts';
import { type Shape, sizeOf } from '../../src/tensor/shape.ts';
import { damagedBytes, damagedJson, oddText, pick } from './damage.ts';

/** What a header says; the data of the files is zeros. */
export interface ModelFile {
  readonly tensors: ReadonlyMap<string, { readonly type: string; readonly shape: Shape }>;
  readonly metadata: ReadonlyMap<string, string>;
}

const typeBytes: Readonly<Record<string, number>> = {
  F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U8: 1, U16: 2, U64: 8, BOOL: 1, F8_E4M3: 1, C64: 8,
}; // biome-ignore format: a table

/** The largest file, which takes no space on the disk: nothing but its header is written. */
const mostBytes = 2 ** 22;

function damagedShape(rng: Rng, shape: Shape): number[] {
  const sizes = [...shape];
  const at = rng.integer(sizes.length + 1);
  const size = pick(rng, [0, 1, 2, 3, 7, 32, 768, 1e9, 2 ** 31, 2 ** 53 - 1]);
  const kind = rng.integer(5);
  if (kind === 0) sizes.splice(at, 1);
  else if (kind === 1) sizes.splice(at, 0, size);
  else if (kind === 2) sizes.reverse();
  else if (kind === 3) return Array.from({ length: rng.integer(rng.integer(5) ? 5 : 33) }, () => pick(rng, [0, 1, 4, 1e9, 1e15]));
  else sizes[Math.min(at, Math.max(sizes.length - 1, 0))] = size;
  return sizes;
} // biome-ignore format: one line a kind

function damagedName(rng: Rng, name: string, others: readonly string[]): string {
  const kind = rng.integer(5);
  if (kind === 0) return oddText(rng, 1 + rng.integer(30));
  if (kind === 1) return name.replace(/\d+/, String(rng.integer(2 ** 40)));
  if (kind === 2) return `${name}${pick(rng, ['.', '.weight', '.alpha', '.lora_mid.weight', '.x'])}`;
  if (kind === 3) return name.split(/(?<=[._])/).slice(rng.integer(3)).join('') || 'x';
  return damagedBytes(rng, Buffer.from(pick(rng, others)), ['.', '_', '0', '9', 'lora_']).toString('latin1');
} // biome-ignore format: one line a kind

/** A metadata text with damage; one that holds JSON stays JSON most often. */
function damagedText(rng: Rng, text: string): string {
  if (rng.integer(4) === 0) return oddText(rng, rng.integer(60));
  try {
    return JSON.stringify(damagedJson(rng, JSON.parse(text))) ?? '';
  } catch {
    return damagedBytes(rng, Buffer.from(text)).toString();
  }
}

/** `model` with one to six wounds. */
export function damagedModel(rng: Rng, model: ModelFile): ModelFile {
  const tensors = new Map(model.tensors);
  const metadata = new Map(model.metadata);
  for (let wounds = rng.integer(6); wounds >= 0; wounds--) {
    const names = [...tensors.keys()];
    if (metadata.size > 0 && rng.integer(3) === 0) {
      const key = pick(rng, [...metadata.keys()]);
      metadata.set(key, damagedText(rng, metadata.get(key)!));
      continue;
    }
    if (names.length === 0) continue;
    const name = pick(rng, names);
    const { type, shape } = tensors.get(name)!;
    const kind = rng.integer(5);
    if (kind === 0) tensors.delete(name);
    else if (kind === 1) tensors.set(name, { type: pick(rng, Object.keys(typeBytes)), shape });
    else if (kind === 2) {
      tensors.delete(name);
      tensors.set(damagedName(rng, name, names), { type, shape });
    } else tensors.set(name, { type, shape: damagedShape(rng, shape) });
  }
  tensors.delete('__metadata__');
  return { tensors, metadata };
}

/** Writes a file whose ranges fit its shapes; tensors that would be too large for it are left out. */
export function writeModel(path: string, { tensors, metadata }: ModelFile): void {
  let end = 0;
  const header: Record<string, unknown> = Object.create(null);
  header['__metadata__'] = Object.fromEntries(metadata);
  for (const [name, { type, shape }] of tensors) {
    const bytes = shape.includes(0) ? 0 : sizeOf(shape) * typeBytes[type]!;
    if (end + bytes > mostBytes) continue;
    header[name] = { dtype: type, shape, data_offsets: [end, end + bytes] };
    end += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = openSync(path, 'wx');
  writeSync(file, Buffer.concat([length, json]));
  ftruncateSync(file, 8 + json.length + end);
  closeSync(file);
}
