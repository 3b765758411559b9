/**
 * @file Writes a random checkpoint of full size (SD 1.5, SD 2.1 or SDXL), with every tensor of the
 * published file: to try speed and memory on, without a download. What it draws means nothing.
 *
 *     npx tsx scripts/make-random-checkpoint.ts OUT.safetensors [--family sd1|sd2|sdxl] [--dtype f16|f32] [--seed N]
 */

import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { publishedSizes } from '../bench/published-sizes.ts';
import { drawOf, drawTable, fillRandom } from '../bench/random-weights.ts';
import { families } from '../src/models/families.ts';
import type { FamilyId } from '../src/models/model-family.ts';
import { checkpointKey } from '../src/models/single-file.ts';
import { modelTensorShapes } from '../src/models/tensor-shapes.ts';
import type { DType } from '../src/tensor/dtype.ts';
import { f32ToF16 } from '../src/tensor/half.ts';
import { type Shape, sizeOf } from '../src/tensor/shape.ts';
import { UserError } from '../src/tensor/user-error.ts';
import { stableDiffusionSchedule } from '../src/train/noise-schedule.ts';
import { writeFileAtomic } from '../src/weights/atomic-write.ts';
import {
  safetensorsOrder,
  serializeHeader,
  type TensorInfo,
} from '../src/weights/safetensors-writer.ts';

/** The two types that published checkpoints come in. */
export type WeightType = 'f16' | 'f32';

const textPositions = 77;
/** Steps of EMA that the published file counts; only its presence matters. */
const emaUpdates = 0;

/** Buffers of the diffusion process [1000], as latent-diffusion's DDPM class registers them. */
function scheduleBuffers(): Record<string, Float64Array> {
  const { alphasCumprod } = stableDiffusionSchedule('f64');
  const steps = alphasCumprod.length;
  const each = (f: (alpha: number, before: number) => number) =>
    Float64Array.from({ length: steps }, (_, t) =>
      f(alphasCumprod[t]!, t === 0 ? 1 : alphasCumprod[t - 1]!),
    );
  const beta = (a: number, before: number) => 1 - a / before;
  const variance = (a: number, before: number) => (beta(a, before) * (1 - before)) / (1 - a);
  return {
    alphas_cumprod: each((a) => a),
    alphas_cumprod_prev: each((_, before) => before),
    betas: each(beta),
    log_one_minus_alphas_cumprod: each((a) => Math.log(1 - a)),
    posterior_log_variance_clipped: each((a, b) => Math.log(Math.max(variance(a, b), 1e-20))),
    posterior_mean_coef1: each((a, b) => (beta(a, b) * Math.sqrt(b)) / (1 - a)),
    posterior_mean_coef2: each((a, b) => ((1 - b) * Math.sqrt(a / b)) / (1 - a)),
    posterior_variance: each(variance),
    sqrt_alphas_cumprod: each((a) => Math.sqrt(a)),
    sqrt_one_minus_alphas_cumprod: each((a) => Math.sqrt(1 - a)),
    sqrt_recip_alphas_cumprod: each((a) => Math.sqrt(1 / a)),
    sqrt_recipm1_alphas_cumprod: each((a) => Math.sqrt(1 / a - 1)),
  };
}

interface Entry extends TensorInfo {
  bytes(): Uint8Array;
}

const bytesOf = (data: Float32Array | Uint16Array | Int32Array | BigInt64Array) =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

function weightBytes(key: string, shape: Shape, dtype: WeightType, seed: number): Uint8Array {
  const table = drawTable(drawOf(key, shape));
  const size = sizeOf(shape);
  return dtype === 'f16'
    ? bytesOf(fillRandom(new Uint16Array(size), f32ToF16(table), key, seed))
    : bytesOf(fillRandom(new Float32Array(size), table, key, seed));
}

/** The shape of the tensor that a weight is a part of, or is stored turned in. */
function storedShape(shape: Shape, third: number | undefined, transposed = false): Shape {
  const [first = 0, ...rest] = shape;
  if (third !== undefined) return [3 * first, ...rest];
  return transposed ? [...shape].reverse() : shape;
}

/** What a family's published file holds beside the weights that are used. */
function extraShapes(family: FamilyId): ReadonlyMap<string, Shape> {
  if (family === 'sdxl') return new Map([['conditioner.embedders.1.model.logit_scale', []]]);
  if (family === 'sd1') return new Map();
  const width = publishedSizes.sd2.text.hidden;
  const prefix = 'cond_stage_model.model.';
  const block = `${prefix}transformer.resblocks.${publishedSizes.sd2.text.layers}.`;
  const layer = (path: string, out: number, inputs: number) =>
    [
      [`${block}${path}weight`, [out, inputs]],
      [`${block}${path}bias`, [out]],
    ] as const;
  const norm = (path: string) =>
    [
      [`${block}${path}.weight`, [width]],
      [`${block}${path}.bias`, [width]],
    ] as const;
  return new Map<string, Shape>([
    [`${prefix}logit_scale`, []],
    [`${prefix}text_projection`, [width, width]],
    ...norm('ln_1'),
    ...norm('ln_2'),
    ...layer('attn.in_proj_', 3 * width, width),
    ...layer('attn.out_proj.', width, width),
    ...layer('mlp.c_fc.', 4 * width, width),
    ...layer('mlp.c_proj.', width, 4 * width),
  ]);
}

const positionIds: { readonly [F in FamilyId]: string | null } = {
  sd1: 'cond_stage_model.transformer.text_model.embeddings.position_ids',
  sd2: null,
  sdxl: 'conditioner.embedders.0.transformer.text_model.embeddings.position_ids',
};

/** Every tensor of the file by key; its bytes are made when asked for. */
export function checkpointEntries(
  family: FamilyId,
  dtype: WeightType,
  seed: number,
): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  const sizes = publishedSizes[family];
  const weight = (key: string, shape: Shape) =>
    entries.set(key, { dtype, shape, bytes: () => weightBytes(key, shape, dtype, seed) });
  for (const [name, shape] of modelTensorShapes(sizes)) {
    const { key, third, transposed } = checkpointKey(families[family], name, sizes);
    weight(key, storedShape(shape, third, transposed));
  }
  for (const [key, shape] of extraShapes(family)) weight(key, shape);
  const floats = (key: string, values: ArrayLike<number>, shape: Shape) => {
    const data = dtype === 'f16' ? f32ToF16(values) : Float32Array.from(values);
    entries.set(key, { dtype, shape, bytes: () => bytesOf(data) });
  };
  const whole = (key: string, type: DType, shape: Shape, data: Int32Array | BigInt64Array) =>
    entries.set(key, { dtype: type, shape, bytes: () => bytesOf(data) });
  if (family !== 'sdxl') {
    for (const [key, values] of Object.entries(scheduleBuffers()))
      floats(key, values, [values.length]);
    floats('model_ema.decay', [0.9999], []);
    whole('model_ema.num_updates', 'i32', [], Int32Array.of(emaUpdates));
  }
  const ids = positionIds[family];
  if (ids === null) return entries;
  const positions = BigInt64Array.from({ length: textPositions }, (_, i) => BigInt(i));
  whole(ids, 'i64', [1, textPositions], positions);
  return entries;
}

/** Writes the file a tensor at a time, so that it takes no more memory than its largest tensor. */
export async function writeRandomCheckpoint(
  path: string,
  {
    family,
    dtype,
    seed,
  }: { readonly family: FamilyId; readonly dtype: WeightType; readonly seed: number },
): Promise<void> {
  const entries = checkpointEntries(family, dtype, seed);
  function* chunks(): Generator<Uint8Array> {
    yield serializeHeader(entries, new Map([['format', 'pt']]));
    for (const key of safetensorsOrder(entries)) yield entries.get(key)!.bytes();
  }
  await writeFileAtomic(path, chunks());
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      family: { type: 'string', default: 'sd1' },
      dtype: { type: 'string', default: 'f16' },
      seed: { type: 'string', default: '0' },
    },
  });
  const [path] = positionals;
  const { dtype, family } = values;
  if (!path || (dtype !== 'f16' && dtype !== 'f32') || !(family in families)) {
    const known = Object.keys(families).join(', ');
    throw new UserError(`give a path to write to; --family is one of ${known}, --dtype f16 or f32`);
  }
  const options = { family: family as FamilyId, dtype, seed: Number(values.seed) } as const;
  await writeRandomCheckpoint(path, options);
  process.stdout.write(`${path}\n`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main();
