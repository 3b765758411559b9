/** @file An adapter in another form: the same factors, bit for bit, under other names. */

import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from '../tensor/half.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { UserError } from '../tensor/user-error.ts';
import { findNonFinite } from '../weights/non-finite.ts';
import type { Metadata } from '../weights/safetensors-header.ts';
import { adapterFamily } from './adapter-family.ts';
import { scalesKey, writeScales } from './adapter-scales.ts';
import type { AdapterFamily } from './kohya-metadata.ts';
import { type AdapterFormat, layerKeys } from './names/tensor-keys.ts';
import { pyFloat } from './python-text.ts';
import type { AdapterLayer, ReadAdapter } from './read-adapter.ts';
import { scaleNotice } from './scale-notice.ts';

/** What a file in another form holds. */
export interface ConvertedAdapter {
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly metadata: Metadata;
  /** Null where nothing tells; names are then those that SD 1.x and 2.x share. */
  readonly family: AdapterFamily | null;
  /** What this form hides of the alphas from some readers; null where nothing. */
  readonly scaleNotice: string | null;
}

const rankOf = ({ down }: AdapterLayer) => down.shape[0]!;
const alphaOf = (layer: AdapterLayer) => layer.alpha ?? rankOf(layer);

/** A value as a tensor without dimensions, in the dtype of its layer where that holds it exactly. */
function scalar(value: number, dtype: Tensor['dtype']): Tensor {
  const single = Float32Array.of(value);
  const shape: readonly number[] = [];
  if (dtype === 'f16') {
    const data = f32ToF16(single);
    if (f16ToF32(data)[0] === single[0]) return { dtype, shape, data };
  }
  if (dtype === 'bf16') {
    const data = f32ToBf16(single);
    if (bf16ToF32(data)[0] === single[0]) return { dtype, shape, data };
  }
  return { dtype: 'f32', shape, data: single };
}

function scaled({ dtype, shape, data }: Tensor, factor: number): Tensor {
  if (dtype === 'f64') {
    return { dtype, shape, data: (data as Float64Array).map((value) => value * factor) };
  }
  const values =
    dtype === 'f16'
      ? f16ToF32(data as Uint16Array)
      : dtype === 'bf16'
        ? bf16ToF32(data as Uint16Array)
        : (data as Float32Array);
  const product = values.map((value) => value * factor);
  if (dtype === 'f16') return { dtype, shape, data: f32ToF16(product) };
  if (dtype === 'bf16') return { dtype, shape, data: f32ToBf16(product) };
  return { dtype: 'f32', shape, data: product };
}

/** The layer with its scale in the up factor, so that no reader needs to know of it. */
function folded(layer: AdapterLayer): AdapterLayer {
  const factor = alphaOf(layer) / rankOf(layer);
  if (factor === 1) return layer;
  const up = scaled(layer.up, factor);
  const wide = up.dtype === 'f16' ? f16ToF32(up.data as Uint16Array) : null;
  if (wide && findNonFinite(wide) >= 0) {
    const { network, path } = layer.layer;
    throw new UserError(
      `alpha cannot be folded into ${network}.${path}: values become too large for F16; leave --fold-alpha out`,
    );
  }
  return { ...layer, up, alpha: rankOf(layer) };
}

/** What web UIs and kohya's tools look for to tell the model, where the file says nothing of it. */
function identification(
  layers: readonly AdapterLayer[],
  family: AdapterFamily | null,
): [string, string][] {
  const versions = { sd1: 'sd_v1', sd2: 'sd_v2', sdxl: 'sdxl_base_v1-0' };
  const ranks = new Set(layers.map(rankOf));
  const alphas = new Set(layers.map(alphaOf));
  const [rank, alpha] = [...ranks, ...alphas];
  const same = ranks.size === 1 && alphas.size === 1;
  return [
    ...(family === null
      ? []
      : ([
          ['ss_base_model_version', versions[family]],
          ['ss_v2', family === 'sd2' ? 'True' : 'False'],
        ] satisfies [string, string][])),
    ['ss_network_module', 'networks.lora'],
    ...(same
      ? ([
          ['ss_network_dim', String(rank)],
          ['ss_network_alpha', pyFloat(alpha!)],
        ] satisfies [string, string][])
      : []),
  ];
}

function convertedMetadata(
  layers: readonly AdapterLayer[],
  metadata: Metadata,
  format: AdapterFormat,
  family: AdapterFamily | null,
): Metadata {
  const kept = new Map(metadata);
  kept.delete(scalesKey);
  if (format === 'kohya') {
    for (const [key, value] of identification(layers, family)) {
      if (!kept.has(key)) kept.set(key, value);
    }
    return kept;
  }
  // Readers of these forms refuse a file that does not say what wrote its tensors.
  kept.set('format', 'pt');
  const scales = layers.map((layer) => ({
    layer: layer.layer,
    rank: rankOf(layer),
    alpha: alphaOf(layer),
  }));
  return kept.set(scalesKey, writeScales(scales));
}

/**
 * The tensors and metadata of an adapter in a form.
 * @param foldAlpha puts alpha / rank into the up factors, which changes their bits
 * @throws UserError where a layer has no name in that form
 */
export function convertAdapter(
  adapter: ReadAdapter,
  metadata: Metadata,
  { format, foldAlpha }: { readonly format: AdapterFormat; readonly foldAlpha: boolean },
): ConvertedAdapter {
  const family = adapterFamily(adapter, metadata);
  const layers = foldAlpha ? adapter.layers.map(folded) : adapter.layers;
  const tensors = new Map<string, Tensor>();
  for (const { layer, down, up, ...rest } of layers) {
    const keys = layerKeys(layer, format, family ?? 'sd1');
    if (keys === null) {
      throw new UserError(`${layer.network}.${layer.path} has no name in the form ${format}`);
    }
    tensors.set(keys.down, down).set(keys.up, up);
    const alpha = rest.alpha ?? down.shape[0]!;
    if (keys.alpha !== null) tensors.set(keys.alpha, scalar(alpha, down.dtype));
  }
  return {
    tensors,
    metadata: convertedMetadata(layers, metadata, format, family),
    family,
    scaleNotice: scaleNotice(
      layers.map((layer) => ({ rank: rankOf(layer), alpha: alphaOf(layer) })),
      format,
    ),
  };
}
