/** @file The words that layers' paths are made of, to find the dots that kohya's names leave out. */

/** Parts of diffusers' and transformers' paths; some have an underscore themselves. */
const diffusersWords = [
  'down_blocks', 'mid_block', 'up_blocks', 'attentions', 'resnets', 'downsamplers', 'upsamplers', 'transformer_blocks',
  'attn1', 'attn2', 'to_q', 'to_k', 'to_v', 'to_out', 'ff', 'net', 'proj', 'proj_in', 'proj_out', 'conv', 'conv1', 'conv2',
  'conv_shortcut', 'time_emb_proj', 'conv_in', 'conv_out', 'time_embedding', 'add_embedding', 'linear_1', 'linear_2',
  'text_model', 'encoder', 'layers', 'self_attn', 'q_proj', 'k_proj', 'v_proj', 'out_proj', 'mlp', 'fc1', 'fc2', 'text_projection',
]; // biome-ignore format: a list of words

/** Parts of the paths in Stability AI's original UNet. */
const originalWords = [
  'input_blocks', 'middle_block', 'output_blocks', 'in_layers', 'out_layers', 'emb_layers', 'skip_connection', 'op',
  'time_embed', 'label_emb', 'out',
]; // biome-ignore format: a list of words

const known = new Set([...diffusersWords, ...originalWords]);
const longestFirst = [...known].sort((a, b) => b.length - a.length);

const isNumber = (text: string) => /^\d{1,3}$/.test(text);

/** The dotted path of `down_blocks_0_attentions_0_proj_in`; null where it is of other words. */
export function dottedPath(underscored: string): string | null {
  const parts: string[] = [];
  let rest = underscored;
  while (rest !== '') {
    const number = rest.split('_', 1)[0]!;
    const part = isNumber(number)
      ? number
      : longestFirst.find((word) => rest === word || rest.startsWith(`${word}_`));
    if (part === undefined) return null;
    parts.push(part);
    rest = rest.slice(part.length + 1);
  }
  return parts.length > 0 ? parts.join('.') : null;
}

/** Whether a dotted path is made of known words. */
export function isLayerPath(path: string): boolean {
  return path.split('.').every((part) => known.has(part) || isNumber(part));
}
