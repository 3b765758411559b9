/** @file From Hugging Face's names of a text encoder's weights to the keys of OpenCLIP. */

import type { WeightKey } from './model-family.ts';

const outer: Readonly<Record<string, WeightKey>> = {
  'text_model.embeddings.token_embedding.weight': { key: 'token_embedding.weight' },
  'text_model.embeddings.position_embedding.weight': { key: 'positional_embedding' },
  'text_model.final_layer_norm.weight': { key: 'ln_final.weight' },
  'text_model.final_layer_norm.bias': { key: 'ln_final.bias' },
  // Used as x·P there, as x·Wᵀ in the linear layer here; being square, its shape does not tell.
  'text_projection.weight': { key: 'text_projection', transposed: true },
};

const layerParts: Readonly<Record<string, string>> = {
  layer_norm1: 'ln_1',
  layer_norm2: 'ln_2',
  'self_attn.out_proj': 'attn.out_proj',
  'mlp.fc1': 'mlp.c_fc',
  'mlp.fc2': 'mlp.c_proj',
};

const thirds = { q: 0, k: 1, v: 2 } as const;

/** @param path with `.weight` or `.bias`, such as `text_model.encoder.layers.0.mlp.fc1.bias` */
export function openClipKey(path: string): WeightKey {
  const known = outer[path];
  if (known) return known;
  const [, layer, rest = '', part = ''] =
    /^text_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(path) ?? [];
  const block = `transformer.resblocks.${layer}`;
  const [, projection] = /^self_attn\.([qkv])_proj$/.exec(rest) ?? [];
  if (projection) {
    const third = thirds[projection as keyof typeof thirds];
    return { key: `${block}.attn.in_proj_${part}`, third };
  }
  const inner = layerParts[rest];
  if (!inner) throw new Error(`internal: no OpenCLIP key for ${path}`);
  return { key: `${block}.${inner}.${part}` };
}
