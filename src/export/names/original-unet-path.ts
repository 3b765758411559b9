/**
 * @file Layers of the UNet between diffusers' paths and those of Stability AI's original code, which
 * kohya's tools use for SDXL. Both have two resnets a level, as all Stable Diffusion models do.
 */

/** Blocks of a level in the original: two resnets, then the step to the next level. */
const blocksPerLevel = 3;

/** Layers outside the blocks, and those of a resnet: original, diffusers. */
const outerLayers: readonly (readonly [string, string])[] = [
  ['input_blocks.0.0', 'conv_in'],
  ['out.2', 'conv_out'],
  ['time_embed.0', 'time_embedding.linear_1'],
  ['time_embed.2', 'time_embedding.linear_2'],
  ['label_emb.0.0', 'add_embedding.linear_1'],
  ['label_emb.0.2', 'add_embedding.linear_2'],
];
const resnetLayers: readonly (readonly [string, string])[] = [
  ['in_layers.2', 'conv1'],
  ['out_layers.3', 'conv2'],
  ['emb_layers.1', 'time_emb_proj'],
  ['skip_connection', 'conv_shortcut'],
];
const middleBlocks = ['resnets.0', 'attentions.0', 'resnets.1'];

type Pairs = readonly (readonly [original: string, diffusers: string])[];
const toDiffusers = (pairs: Pairs, name: string) => pairs.find(([name_]) => name_ === name)?.[1];
const toOriginal = (pairs: Pairs, name: string) => pairs.find(([, name_]) => name_ === name)?.[0];

/** Whether a path begins as those of the original do. */
export function isOriginalUnetPath(path: string): boolean {
  return /^(input_blocks|middle_block|output_blocks|time_embed|label_emb|out)\./.test(path);
}

/** The rest of a path below a resnet or a transformer, or null. */
function innerPath(kind: string, rest: string): string | null {
  if (kind.startsWith('attentions')) return rest;
  return toDiffusers(resnetLayers, rest) ?? null;
}

/** The path in diffusers' UNet, such as `down_blocks.1.attentions.0.proj_in`; null where there is none. */
export function fromOriginalUnetPath(path: string): string | null {
  const outer = toDiffusers(outerLayers, path);
  if (outer) return outer;
  const [, block, , number = '', part = '', rest = ''] =
    /^((input|output)_blocks|middle_block)\.(\d+)(?:\.(\d+))?\.(.+)$/.exec(path) ?? [];
  if (block === undefined) return null;
  if (block === 'middle_block') {
    const kind = middleBlocks[Number(number)];
    const inner = kind && innerPath(kind, part === '' ? rest : `${part}.${rest}`);
    return inner ? `mid_block.${kind}.${inner}` : null;
  }
  const isInput = block === 'input_blocks';
  const index = Number(number) - (isInput ? 1 : 0);
  const level = Math.floor(index / blocksPerLevel);
  const j = index % blocksPerLevel;
  if (index < 0) return null;
  if (isInput && j === 2) {
    return `${part}.${rest}` === '0.op' ? `down_blocks.${level}.downsamplers.0.conv` : null;
  }
  const blocks = `${isInput ? 'down' : 'up'}_blocks.${level}`;
  // Behind a transformer, where the level has them, or behind the resnet.
  if (!isInput && j === 2 && part !== '0' && rest === 'conv') return `${blocks}.upsamplers.0.conv`;
  const kind = part === '0' ? `resnets.${j}` : part === '1' ? `attentions.${j}` : undefined;
  const inner = kind && innerPath(kind, rest);
  return inner ? `${blocks}.${kind}.${inner}` : null;
}

/** The original path of a layer of SDXL's UNet; null where there is none. */
export function toOriginalUnetPath(path: string): string | null {
  const outer = toOriginal(outerLayers, path);
  if (outer) return outer;
  const match = /^(?:(down|up)_blocks\.(\d+)|mid_block)\.(\w+)\.(\d+)\.(.+)$/.exec(path);
  if (!match) return null;
  const [, direction, level, kind, j, rest = ''] = match;
  const inner = kind === 'attentions' ? rest : toOriginal(resnetLayers, rest);
  if (direction === undefined) {
    const at = middleBlocks.indexOf(`${kind}.${j}`);
    return at < 0 || !inner ? null : `middle_block.${at}.${inner}`;
  }
  const first = blocksPerLevel * Number(level);
  if (kind === 'downsamplers') return `input_blocks.${first + 3}.0.op`;
  // SDXL has transformers at every level that it steps up from.
  if (kind === 'upsamplers') return `output_blocks.${first + 2}.2.conv`;
  if (!inner || (kind !== 'resnets' && kind !== 'attentions')) return null;
  const number = first + Number(j) + (direction === 'down' ? 1 : 0);
  const blocks = direction === 'down' ? 'input_blocks' : 'output_blocks';
  return `${blocks}.${number}.${kind === 'attentions' ? 1 : 0}.${inner}`;
}
