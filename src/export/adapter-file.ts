/** @file The content of an adapter file: checked, rounded to its precision, hashed, in order. */

import { f32ToBf16, f32ToF16 } from '../tensor/half.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { UserError } from '../tensor/user-error.ts';
import { sshsLegacyHash, sshsModelHash } from '../weights/hashes.ts';
import { findNonFinite } from '../weights/non-finite.ts';
import type { Metadata } from '../weights/safetensors-header.ts';
import { dataChunks, serializeHeader } from '../weights/safetensors-writer.ts';

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
export interface AdapterFile {
  /** By key; float values before they are rounded. */
  readonly expected: ReadonlyMap<string, Tensor<'f32'>>;
  /** With both hashes at the end. */
  readonly metadata: Metadata;
  /** The bytes of the file, in pieces. */
  readonly chunks: readonly Uint8Array[];
  /** SHA-256 of the data section, which is also `sshs_model_hash`. */
  readonly modelHash: string;
}

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

/** All keys of the file with their float values. */
function expectedTensors(modules: readonly AdapterModule[]): Map<string, Tensor<'f32'>> {
  const expected = new Map<string, Tensor<'f32'>>();
  for (const module of modules) {
    checkModule(module);
    const { name, down, up, alpha } = module;
    if (expected.has(`${name}.alpha`)) throw new Error(`internal: adapter module ${name} twice`);
    expected.set(`${name}.alpha`, { dtype: 'f32', shape: [], data: Float32Array.of(alpha) });
    expected.set(`${name}.lora_down.weight`, down);
    expected.set(`${name}.lora_up.weight`, up);
  }
  return expected;
}

/**
 * Makes the file: `alpha`, `lora_down.weight` and `lora_up.weight` of every module in one
 * precision, the metadata with `ss_*` first, and `sshs_model_hash` and `sshs_legacy_hash`.
 * @throws UserError where a value is not finite or would not be in this precision
 */
export function adapterFile(
  modules: readonly AdapterModule[],
  metadata: Metadata,
  precision: AdapterPrecision,
): AdapterFile {
  const expected = expectedTensors(modules);
  for (const [key, { data }] of expected) checkValues(key, data, precision);
  const tensors = new Map(
    Array.from(expected, ([key, tensor]) => [key, rounded(tensor, precision)]),
  );
  const data = dataChunks(tensors);
  const modelHash = sshsModelHash(data);
  const training = [...metadata].filter(([key]) => key.startsWith('ss_'));
  const others = [...metadata].filter(([key]) => !/^ss(hs)?_/.test(key));
  // The legacy hash is that of a file with the training fields alone (format of kohya's tools).
  const legacyHash = sshsLegacyHash([serializeHeader(tensors, new Map(training)), ...data]);
  const complete = new Map([
    ...training,
    ...others,
    ['sshs_model_hash', modelHash] as const,
    ['sshs_legacy_hash', legacyHash] as const,
  ]);
  return {
    expected,
    metadata: complete,
    chunks: [serializeHeader(tensors, complete), ...data],
    modelHash,
  };
}
