/** @file A whole small run to try commands on: a checkpoint, pictures with captions, a configuration. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { sd1CheckpointKey } from '../../src/models/sd1/key-map.ts';
import type { Sd1Sizes } from '../../src/models/sd1/sizes.ts';
import { sd1TensorShapes } from '../../src/models/sd1/tensor-shapes.ts';
import { f32ToF16 } from '../../src/tensor/half.ts';
import { type Shape, sizeOf } from '../../src/tensor/shape.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { writeSafetensors } from '../../src/weights/safetensors-writer.ts';

/** The least channels that 32 groups of a norm allow, and CLIP's whole vocabulary. */
export const tinySizes: Sd1Sizes = {
  unet: {
    inChannels: 4,
    outChannels: 4,
    channels: [32, 32],
    layersPerBlock: 1,
    attention: [true, false],
    contextChannels: 32,
  },
  text: { vocabulary: 49408, positions: 77, hidden: 32, inner: 32, layers: 2 },
  vae: { imageChannels: 3, latentChannels: 4, channels: [32, 32, 32, 32], layersPerBlock: 1 },
};

/** Values between ±bound that look random; the same each time. */
function noise(size: number, bound: number): Float32Array {
  let state = 12345;
  return Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) * bound;
  });
}

function weight(name: string, shape: Shape): Float32Array {
  const isScale = shape.length === 1 && name.endsWith('.weight');
  if (isScale) return new Float32Array(sizeOf(shape)).fill(1);
  return noise(sizeOf(shape), 1 / Math.sqrt(sizeOf(shape.slice(1))));
}

/**
 * Writes an SD 1.x checkpoint of `tinySizes`, F16.
 * @param change may replace or remove tensors, by checkpoint key
 */
export async function writeTinyCheckpoint(
  path: string,
  change: (tensors: Map<string, Tensor>) => void = () => {},
): Promise<void> {
  const tensors = new Map<string, Tensor>();
  for (const [name, shape] of sd1TensorShapes(tinySizes)) {
    const data = f32ToF16(weight(name, shape));
    tensors.set(sd1CheckpointKey(name, tinySizes), { dtype: 'f16', shape, data });
  }
  change(tensors);
  await writeSafetensors(path, tensors);
}

/** Writes `images/1.png` … with captions; each picture another colour. */
export async function writePictures(folder: string, count = 3, side = 64): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (let i = 1; i <= count; i++) {
    const background = { r: 60 * i, g: 255 - 50 * i, b: 20 * i };
    const picture = sharp({ create: { width: side, height: side, channels: 3, background } });
    await picture.png().toFile(join(folder, `${i}.png`));
    writeFileSync(join(folder, `${i}.txt`), `a zibbo, picture ${i}\n`);
  }
}

/** The configuration of a run of two steps in `folder`, where base.safetensors and images/ are. */
export function tinyConfig(folder: string): string {
  return `base: ${folder}/base.safetensors
output:
  dir: ${folder}/out
  name: zibbo
lora:
  rank: 2
data:
  folders:
    - path: ${folder}/images
      repeats: 2
  triggerWord: zibbo
  resolution: 64
  buckets:
    step: 32
    minSide: 32
    maxSide: 96
train:
  steps: 2
  batchSize: 2
device:
  threads: 1
`;
}

/** Writes all three. */
export async function writeTinyRun(folder: string): Promise<string> {
  await writeTinyCheckpoint(join(folder, 'base.safetensors'));
  await writePictures(join(folder, 'images'));
  const path = join(folder, 'run.yaml');
  writeFileSync(path, tinyConfig(folder));
  return path;
}
