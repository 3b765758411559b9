/** @file Which layers of a model get a LoRA: those that kohya's trainer takes, under its names. */

import type { Shape } from '../tensor/shape.ts';
import { sizeOf } from '../tensor/shape.ts';

/** The networks that can be adapted; each is one group with its own learning rate. */
export type LoraGroup = 'unet' | 'text_encoder';

type ModuleKind = 'linear' | 'conv1x1' | 'conv3x3';

/** One frozen layer that gets a pair of factors. */
export interface TargetModule {
  /** In an adapter file: `lora_unet_down_blocks_0_attentions_0_proj_in`. */
  readonly name: string;
  /** In the model: `unet.down_blocks.0.attentions.0.proj_in`. */
  readonly path: string;
  readonly group: LoraGroup;
  readonly kind: ModuleKind;
  /** Of the frozen weight: [out, in] or [out, in, kh, kw]. */
  readonly shape: Shape;
}

export interface TargetOptions {
  /** True unless given. */
  readonly unet?: boolean;
  /** True unless given. */
  readonly textEncoder?: boolean;
  /** The layers of resnets and of down- and up-samplers too (LoCon); false unless given. */
  readonly convolutions?: boolean;
}

const prefixes: { readonly [G in LoraGroup]: string } = {
  unet: 'lora_unet_',
  text_encoder: 'lora_te_',
};

/** Below Transformer2DModel; below ResnetBlock2D, Downsample2D and Upsample2D; of the text encoder. */
const transformerLayer = /^unet\..*\.attentions\.\d+\./;
const convolutionLayer = /^unet\..*\.(resnets|downsamplers|upsamplers)\.\d+\./;
const textLayer = /^text_encoder\..*\.(self_attn|mlp)\./;

function kindOf(shape: Shape): ModuleKind | undefined {
  if (shape.length === 2) return 'linear';
  if (shape.length !== 4) return undefined;
  return shape[2] === 1 && shape[3] === 1 ? 'conv1x1' : 'conv3x3';
}

/**
 * Every Linear and 1x1 convolution of the UNet's transformers and every Linear of the text encoder's
 * attention and MLP, in the order of the model.
 *
 * @param shapes of the model's weights by full name
 */
export function targetModules(
  shapes: ReadonlyMap<string, Shape>,
  { unet = true, textEncoder = true, convolutions = false }: TargetOptions = {},
): TargetModule[] {
  const modules: TargetModule[] = [];
  for (const [weight, shape] of shapes) {
    const kind = kindOf(shape);
    if (!kind || !weight.endsWith('.weight')) continue;
    const inUnet =
      unet && (transformerLayer.test(weight) || (convolutions && convolutionLayer.test(weight)));
    if (!inUnet && !(textEncoder && textLayer.test(weight))) continue;
    const path = weight.slice(0, -'.weight'.length);
    const group: LoraGroup = inUnet ? 'unet' : 'text_encoder';
    const name = prefixes[group] + path.slice(group.length + 1).replaceAll('.', '_');
    modules.push({ name, path, group, kind, shape });
  }
  return modules;
}

/** Shape of a module's `lora_down.weight`. */
export function downShape({ shape }: TargetModule, rank: number): Shape {
  return [rank, ...shape.slice(1)];
}

/** Shape of a module's `lora_up.weight`. */
export function upShape({ shape }: TargetModule, rank: number): Shape {
  return [shape[0]!, rank, ...shape.slice(2).map(() => 1)];
}

/** Inputs of one output of a module's down factor. */
export function fanIn({ shape }: TargetModule): number {
  return sizeOf(shape.slice(1));
}
