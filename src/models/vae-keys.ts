/**
 * @file From diffusers' paths of an autoencoder's layers to the keys of published files: those of
 * CompVis's latent-diffusion with and without prefix, and diffusers' of two generations.
 */

const vaeAttentionParts: Readonly<Record<string, string>> = {
  group_norm: 'norm',
  to_q: 'q',
  to_k: 'k',
  to_v: 'v',
  'to_out.0': 'proj_out',
};

/** The key of a layer, without prefix; `path` has no `.weight` or `.bias`. */
function vaeKey(path: string, levels: number): string {
  const match =
    /^(encoder|decoder)\.(?:(mid_block)|(?:down|up)_blocks\.(\d+))\.(\w+)\.(\d+)\.(.+)$/.exec(path);
  if (!match) return path.replace('conv_norm_out', 'norm_out');
  const [, half, middle, level, kind, index, rest = ''] = match;
  const inner = rest === 'conv_shortcut' ? 'nin_shortcut' : rest;
  if (middle) {
    if (kind === 'attentions') return `${half}.mid.attn_1.${vaeAttentionParts[rest]}`;
    return `${half}.mid.block_${Number(index) + 1}.${inner}`;
  }
  // Levels of the decoder are counted from the other end.
  const block =
    half === 'encoder' ? `encoder.down.${level}` : `decoder.up.${levels - 1 - Number(level)}`;
  if (kind === 'downsamplers') return `${block}.downsample.conv`;
  if (kind === 'upsamplers') return `${block}.upsample.conv`;
  return `${block}.block.${index}.${inner}`;
}

const olderVaeAttention: Readonly<Record<string, string>> = {
  to_q: 'query',
  to_k: 'key',
  to_v: 'value',
  'to_out.0': 'proj_attn',
};

const vaePrefix = 'first_stage_model.';

/**
 * All keys under which a weight is found, the usual one first: an autoencoder in a file of its own
 * has no prefix, or diffusers' names.
 *
 * @param path without `.weight` or `.bias`
 * @param levels number of levels of the autoencoder
 */
export function vaeKeyCandidates(path: string, part: string, levels: number): string[] {
  const key = `${vaeKey(path, levels)}.${part}`;
  const older = path.replace(
    /(attentions\.0\.)(to_q|to_k|to_v|to_out\.0)$/,
    (_, block: string, layer: string) => block + olderVaeAttention[layer],
  );
  return [...new Set([vaePrefix + key, key, `${path}.${part}`, `${older}.${part}`])];
}
