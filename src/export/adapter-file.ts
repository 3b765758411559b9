/** @file The content of an adapter file: checked, rounded to its precision, hashed, in order. */

import { f32ToBf16, f32ToF16 } from '../tensor/half.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { UserError } from '../tensor/user-error.ts';
import { findNonFinite } from '../weights/non-finite.ts';
import type { Metadata } from '../weights/safetensors-header.ts';
import { scalesKey, writeScales } from './adapter-scales.ts';
import { type HashedContent, hashedContent } from './hashed-content.ts';
import type { AdapterFamily } from './kohya-metadata.ts';
import { type LayerName, readKohyaName } from './names/layer-name.ts';
import { type AdapterFormat, type LayerKeys, layerKeys } from './names/tensor-keys.ts';

/** One adapted layer, `W' = W + (alpha / r) · up · down`. */
export interface AdapterModule {
  /** As kohya names it, such as `lora_unet_mid_block_attentions_0_proj_in`; without dots. */
  readonly name: string;
  /** `[r, in]`, or `[r, in, kh, kw]` of a convolution. */
  readonly down: Tensor<'f32'>;
  /** `[out, r]`, or `[out, r, 1, 1]` of a convolution. */
  readonly up: Tensor<'f32'>;
  readonly alpha: number;
}

/** What the values of a file are rounded to. */
export type AdapterPrecision = 'f32' | 'f16' | 'bf16';

/** A file ready to be written. */
export interface AdapterFile extends HashedContent {
  /** By key; float values before they are rounded. */
  readonly expected: ReadonlyMap<string, Tensor<'f32'>>;
}

/** How the tensors of a file are named, and for which models. */
export interface AdapterNaming {
  readonly format: AdapterFormat;
  readonly family: AdapterFamily;
}

const kohyaNaming: AdapterNaming = { format: 'kohya', family: 'sd1' };

/** The smallest magnitude that becomes infinite: half a step above the largest finite value. */
const overflow: { readonly [P in AdapterPrecision]: number } = {
  f32: Number.POSITIVE_INFINITY,
  f16: 65520,
  bf16: (2 - 2 ** -8) * 2 ** 127,
};

function checkModule({ name, down, up }: AdapterModule): void {
  const [rank, , ...kernel] = down.shape;
  const [, upRank, ...upKernel] = up.shape;
  const sound =
    (down.shape.length === 2 || down.shape.length === 4) &&
    rank !== undefined &&
    rank >= 1 &&
    rank === upRank &&
    kernel.length === upKernel.length &&
    upKernel.every((d) => d === 1);
  if (!sound || name.includes('.')) {
    throw new Error(
      `internal: adapter module ${name} has shapes [${down.shape}] and [${up.shape}]`,
    );
  }
}

function checkValues(key: string, values: Float32Array, precision: AdapterPrecision): void {
  const bad = findNonFinite(values);
  if (bad >= 0) {
    throw new UserError(
      `the adapter was not written: ${key} has the value ${values[bad]} at ${bad}; ` +
        'training has diverged, so go back to an earlier save and lower the learning rate',
    );
  }
  const limit = overflow[precision];
  const large = values.findIndex((value) => Math.abs(value) >= limit);
  if (large >= 0) {
    throw new UserError(
      `the adapter was not written: ${key} has the value ${values[large]} at ${large}, too large for ` +
        `${precision}; save as ${precision === 'f16' ? 'bf16 or f32' : 'f32'}, or lower the learning rate`,
    );
  }
}

function rounded({ shape, data }: Tensor<'f32'>, precision: AdapterPrecision): Tensor {
  if (precision === 'f16') return { dtype: 'f16', shape, data: f32ToF16(data) };
  if (precision === 'bf16') return { dtype: 'bf16', shape, data: f32ToBf16(data) };
  return { dtype: 'f32', shape, data };
}

function layerOf(name: string): LayerName {
  const layer = readKohyaName(name);
  if (layer === null) throw new Error(`internal: no layer is called ${name}`);
  return layer;
}

/** kohya's keys are those of the module's own name, whatever the model. */
function keysOf(name: string, { format, family }: AdapterNaming): LayerKeys {
  if (format === 'kohya') {
    const [down, up] = [`${name}.lora_down.weight`, `${name}.lora_up.weight`];
    return { down, up, alpha: `${name}.alpha` };
  }
  const keys = layerKeys(layerOf(name), format, family);
  if (keys === null) throw new Error(`internal: ${name} has no name in ${format}`);
  return keys;
}

/** All keys of the file with their float values. */
function expectedTensors(
  modules: readonly AdapterModule[],
  naming: AdapterNaming,
): Map<string, Tensor<'f32'>> {
  const expected = new Map<string, Tensor<'f32'>>();
  for (const module of modules) {
    checkModule(module);
    const { name, down, up, alpha } = module;
    const keys = keysOf(name, naming);
    if (expected.has(keys.down)) throw new Error(`internal: adapter module ${name} twice`);
    if (keys.alpha !== null) {
      expected.set(keys.alpha, { dtype: 'f32', shape: [], data: Float32Array.of(alpha) });
    }
    expected.set(keys.down, down).set(keys.up, up);
  }
  return expected;
}

/** The metadata with what other forms than kohya's keep there: the scales. */
function completeMetadata(
  modules: readonly AdapterModule[],
  metadata: Metadata,
  format: AdapterFormat,
): Metadata {
  if (format === 'kohya') return metadata;
  const scales = modules.map(({ name, down, alpha }) => ({
    layer: layerOf(name),
    rank: down.shape[0]!,
    alpha,
  }));
  return new Map([...metadata, ['format', 'pt'], [scalesKey, writeScales(scales)]]);
}

/**
 * Makes the file: scale and factors of every module in one precision, the metadata with `ss_*`
 * first, and `sshs_model_hash` and `sshs_legacy_hash`.
 * @param naming kohya's unless given
 * @throws UserError where a value is not finite or would not be in this precision
 */
export function adapterFile(
  modules: readonly AdapterModule[],
  metadata: Metadata,
  precision: AdapterPrecision,
  naming: AdapterNaming = kohyaNaming,
): AdapterFile {
  const expected = expectedTensors(modules, naming);
  for (const [key, { data }] of expected) checkValues(key, data, precision);
  const tensors = new Map(
    Array.from(expected, ([key, tensor]) => [key, rounded(tensor, precision)]),
  );
  return {
    expected,
    ...hashedContent(tensors, completeMetadata(modules, metadata, naming.format)),
  };
}
