/** @file Small checkpoints of each family with random weights, in the layout of published files. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { families } from '../../src/models/families.ts';
import type { FamilyId } from '../../src/models/model-family.ts';
import { checkpointKey } from '../../src/models/single-file.ts';
import type { ModelSizes } from '../../src/models/sizes.ts';
import { modelTensorShapes } from '../../src/models/tensor-shapes.ts';
import { f32ToF16 } from '../../src/tensor/half.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { type Shape, sizeOf } from '../../src/tensor/shape.ts';
import { f32, type Tensor } from '../../src/tensor/tensor.ts';
import { writeSafetensors } from '../../src/weights/safetensors-writer.ts';
import { tinySizes } from '../cli/tiny-run.ts';

const text = { vocabulary: 49408, positions: 77, hidden: 32, inner: 32, layers: 2 };

/** The least channels that 32 groups of a norm allow, and CLIP's whole vocabulary. */
export const familySizes: { readonly [F in FamilyId]: ModelSizes } = {
  sd1: tinySizes,
  sd2: { ...tinySizes, unet: { ...tinySizes.unet, linearProjection: true }, text },
  sdxl: {
    ...tinySizes,
    unet: {
      ...tinySizes.unet,
      attention: [false, true],
      depths: [0, 2],
      contextChannels: 64,
      linearProjection: true,
      additionChannels: 32 + 6 * 8,
    },
    text,
    text2: { ...text, projection: 32 },
  },
};

/** PyTorch's default initialisation, but for the large table of tokens, which is cheap noise. */
function weight(name: string, shape: Shape): Float32Array {
  const isScale = shape.length === 1 && name.endsWith('.weight');
  const out = new Float32Array(sizeOf(shape)).fill(isScale ? 1 : 0);
  if (isScale) return out;
  const few = new Rng(11, name).normals(997);
  const bound = name.includes('embedding') ? 0.3 : 1 / Math.sqrt(sizeOf(shape.slice(1)));
  return out.map((_, i) => few[(i * 31 + (i % 89)) % 997]! * bound * 0.7);
}

/** Puts a weight where a published file has it: as it is, turned, or as a third of a tensor. */
function place(
  tensors: Map<string, Tensor<'f32'>>,
  family: FamilyId,
  name: string,
  shape: Shape,
): void {
  const { key, third, transposed } = checkpointKey(families[family], name, familySizes[family]);
  const values = weight(name, shape);
  if (third !== undefined) {
    const whole = tensors.get(key) ?? f32([3 * shape[0]!, ...shape.slice(1)]);
    whole.data.set(values, third * values.length);
    tensors.set(key, whole);
    return;
  }
  const [rows = 0, columns = 0] = shape;
  const turned = values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);
  tensors.set(key, transposed ? f32([columns, rows], turned) : f32(shape, values));
}

/** The tensors of a small checkpoint by key, f32; SD 2.x has one more block than is used, as published. */
function tinyTensors(family: FamilyId): Map<string, Tensor<'f32'>> {
  const tensors = new Map<string, Tensor<'f32'>>();
  const shapes = modelTensorShapes(familySizes[family]);
  for (const [name, shape] of shapes) place(tensors, family, name, shape);
  if (family !== 'sd2') return tensors;
  const last = familySizes.sd2.text.layers - 1;
  for (const [key, tensor] of [...tensors]) {
    const copy = key.replace(`.resblocks.${last}.`, `.resblocks.${last + 1}.`);
    tensors.set(copy, tensor);
  }
  return tensors;
}

/**
 * Writes a small checkpoint, F16.
 * @param change may replace or remove tensors, by checkpoint key
 */
export async function writeTinyModel(
  path: string,
  family: FamilyId,
  change: (tensors: Map<string, Tensor>) => void = () => {},
): Promise<void> {
  const tensors = new Map<string, Tensor>(
    Array.from(tinyTensors(family), ([key, { shape, data }]) => [
      key,
      { dtype: 'f16', shape, data: f32ToF16(data) },
    ]),
  );
  change(tensors);
  await writeSafetensors(path, tensors);
}

const folderStems = {
  unet: 'diffusion_pytorch_model',
  vae: 'diffusion_pytorch_model',
  text_encoder: 'model',
  text_encoder_2: 'model',
} as const;

/**
 * Writes the same model as `writeTinyModel` as a folder of diffusers.
 * @param options.shards files that the UNet is split into, with an index
 */
export async function writeTinyFolder(
  folder: string,
  family: FamilyId,
  { shards = 1, scheduler = {} }: { readonly shards?: number; readonly scheduler?: object } = {},
): Promise<void> {
  const networks = new Map<string, Map<string, Tensor>>();
  for (const [name, shape] of modelTensorShapes(familySizes[family])) {
    const dot = name.indexOf('.');
    const [network, path] = [name.slice(0, dot), name.slice(dot + 1)];
    const tensors = networks.get(network) ?? new Map<string, Tensor>();
    // Attention of the VAE is linear there.
    const isMatrix = network === 'vae' && /attentions\..*weight$/.test(path) && shape.length === 4;
    const data = f32ToF16(weight(name, shape));
    tensors.set(path, { dtype: 'f16', shape: isMatrix ? shape.slice(0, 2) : shape, data });
    networks.set(network, tensors);
  }
  const json = (path: string, value: object) =>
    writeFileSync(join(folder, path), JSON.stringify(value));
  for (const [network, tensors] of networks) {
    mkdirSync(join(folder, network), { recursive: true });
    const stem = folderStems[network as keyof typeof folderStems];
    const parts = network === 'unet' ? shards : 1;
    if (parts === 1) {
      await writeSafetensors(join(folder, network, `${stem}.safetensors`), tensors);
      continue;
    }
    const weightMap: Record<string, string> = {};
    for (let i = 0; i < parts; i++) {
      const file = `${stem}-${i + 1}-of-${parts}.safetensors`;
      const own = new Map([...tensors].filter((_, at) => at % parts === i));
      for (const key of own.keys()) weightMap[key] = file;
      await writeSafetensors(join(folder, network, file), own);
    }
    json(join(network, `${stem}.safetensors.index.json`), { weight_map: weightMap });
  }
  mkdirSync(join(folder, 'scheduler'), { recursive: true });
  json('scheduler/scheduler_config.json', scheduler);
  const pipeline = family === 'sdxl' ? 'StableDiffusionXLPipeline' : 'StableDiffusionPipeline';
  json('model_index.json', { _class_name: pipeline });
}
