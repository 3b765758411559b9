/** @file Published models by the names and shapes of their tensors, without their weights. */

import type { CheckpointFile } from '../../src/models/checkpoint.ts';
import type { DType } from '../../src/tensor/dtype.ts';
import { type Shape, sizeOf } from '../../src/tensor/shape.ts';
import { readSections } from './sd1/sd15-facts.ts';

/** One weight: our name, and where it lies in the file. */
interface PublishedWeight {
  readonly name: string;
  readonly key: string;
  readonly shape: Shape;
  /** `0`, `1` or `2`: that third of the tensor; `transposed`; empty: the tensor as it is. */
  readonly part: string;
}

const shapeOf = (text: string): Shape => (text === 'scalar' ? [] : text.split('x').map(Number));

/** The weights of `sd21` or `sdxl`, and the keys of their files that are of no use. */
function publishedWeights(model: 'sd21' | 'sdxl') {
  const weights: PublishedWeight[] = [];
  const unused = new Map<string, Shape>();
  for (const [section, { prefix, rows }] of readSections(`${model}-weights.tsv`)) {
    if (section === 'unused') {
      for (const [key, shape] of rows) unused.set(key!, shapeOf(shape!));
      continue;
    }
    for (const [path, key, shape, part = ''] of rows) {
      weights.push({
        name: `${section}.${path}`,
        key: prefix + key,
        shape: shapeOf(shape!),
        part,
      });
    }
  }
  return { weights, unused };
}

function storedShape({ shape, part }: PublishedWeight): Shape {
  const [first = 0, ...rest] = shape;
  if (part === 'transposed') return [...shape].reverse();
  return part === '' ? shape : [3 * first, ...rest];
}

/** The published file with all its keys; its values are zeros, but for the noise's table. */
export function publishedFile(model: 'sd21' | 'sdxl', dtype: DType = 'f16') {
  const { weights, unused } = publishedWeights(model);
  const shapes = new Map([...weights.map((w) => [w.key, storedShape(w)] as const), ...unused]);
  const entries = new Map(
    Array.from(shapes, ([key, shape]) => [key, { dtype, stored: dtype.toUpperCase(), shape }]),
  );
  const file: CheckpointFile = {
    path: `${model}.safetensors`,
    entries,
    readF32Sync: (key) => new Float32Array(sizeOf(shapes.get(key)!)).fill(0.0047),
    readHalfSync: (key) => new Uint16Array(sizeOf(shapes.get(key)!)),
  };
  return { file, entries, weights };
}
