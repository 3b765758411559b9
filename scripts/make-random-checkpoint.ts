/**
 * @file Writes a random SD 1.5 checkpoint of full size, with every tensor of the published file: to
 * try speed and memory on, without a download. What it draws means nothing.
 *
 *     npx tsx scripts/make-random-checkpoint.ts OUT.safetensors [--dtype f16|f32] [--seed N]
 */

import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { drawOf, drawTable, fillRandom } from '../bench/random-weights.ts';
import { sd15Sizes } from '../bench/sd15-sizes.ts';
import { sd1CheckpointKey } from '../src/models/sd1/key-map.ts';
import { sd1TensorShapes } from '../src/models/sd1/tensor-shapes.ts';
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

/** Every tensor of the file by key; its bytes are made when asked for. */
export function sd15CheckpointEntries(dtype: WeightType, seed: number): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const [name, shape] of sd1TensorShapes(sd15Sizes)) {
    const key = sd1CheckpointKey(name, sd15Sizes);
    entries.set(key, { dtype, shape, bytes: () => weightBytes(key, shape, dtype, seed) });
  }
  const floats = (key: string, values: ArrayLike<number>, shape: Shape) => {
    const data = dtype === 'f16' ? f32ToF16(values) : Float32Array.from(values);
    entries.set(key, { dtype, shape, bytes: () => bytesOf(data) });
  };
  for (const [key, values] of Object.entries(scheduleBuffers()))
    floats(key, values, [values.length]);
  floats('model_ema.decay', [0.9999], []);
  const whole = (key: string, type: DType, shape: Shape, data: Int32Array | BigInt64Array) =>
    entries.set(key, { dtype: type, shape, bytes: () => bytesOf(data) });
  whole('model_ema.num_updates', 'i32', [], Int32Array.of(emaUpdates));
  whole(
    'cond_stage_model.transformer.text_model.embeddings.position_ids',
    'i64',
    [1, textPositions],
    BigInt64Array.from({ length: textPositions }, (_, i) => BigInt(i)),
  );
  return entries;
}

/** Writes the file a tensor at a time, so that it takes no more memory than its largest tensor. */
export async function writeRandomCheckpoint(
  path: string,
  { dtype, seed }: { readonly dtype: WeightType; readonly seed: number },
): Promise<void> {
  const entries = sd15CheckpointEntries(dtype, seed);
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
      dtype: { type: 'string', default: 'f16' },
      seed: { type: 'string', default: '0' },
    },
  });
  const [path] = positionals;
  const { dtype } = values;
  if (!path || (dtype !== 'f16' && dtype !== 'f32')) {
    throw new UserError('give a path to write to; --dtype is f16 or f32');
  }
  await writeRandomCheckpoint(path, { dtype, seed: Number(values.seed) });
  process.stdout.write(`${path}\n`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main();
