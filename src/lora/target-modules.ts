/** @file Which layers of a model get a LoRA: those that kohya's trainer takes, under its names. */

import { inferNamedUnetSizes } from '../models/infer-sizes.ts';
import type { ModelFamily } from '../models/model-family.ts';
import type { UnetSizes } from '../models/sizes.ts';
import type { Shape } from '../tensor/shape.ts';
import { sizeOf } from '../tensor/shape.ts';

/** What can be adapted: the UNet, and all text encoders; each is one group with its own learning rate. */
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

/** A model whose layers are looked at. */
export interface TargetModel {
  readonly family: ModelFamily;
  /** Of its weights by full name. */
  readonly shapes: ReadonlyMap<string, Shape>;
}

const unetPrefix = 'lora_unet_';

/** Below Transformer2DModel; below ResnetBlock2D, Downsample2D and Upsample2D; of the text encoder. */
const transformerLayer = /^unet\..*\.attentions\.\d+\./;
const convolutionLayer = /^unet\..*\.(resnets|downsamplers|upsamplers)\.\d+\./;
const textLayer = /^text_encoder(_2)?\..*\.(self_attn|mlp)\./;

function kindOf(shape: Shape): ModuleKind | undefined {
  if (shape.length === 2) return 'linear';
  if (shape.length !== 4) return undefined;
  return shape[2] === 1 && shape[3] === 1 ? 'conv1x1' : 'conv3x3';
}

/** How a module is named by its layer's path, as the family's files have it. */
function namer({ family, shapes }: TargetModel): (path: string) => string {
  let sizes: UnetSizes | undefined;
  const unet = () => {
    sizes ??= inferNamedUnetSizes(
      new Map(Array.from(shapes, ([name, shape]) => [name, { shape }])),
      'the model',
      'unet.',
    );
    return sizes;
  };
  return (path) => {
    const dot = path.indexOf('.');
    const [network, inner] = [path.slice(0, dot), path.slice(dot + 1)];
    const encoder = family.textEncoders.find((one) => one.network === network);
    const name = encoder
      ? encoder.adapterPrefix + inner
      : unetPrefix + family.adapterPath(inner, unet);
    return name.replaceAll('.', '_');
  };
}

/**
 * Every Linear and 1x1 convolution of the UNet's transformers and every Linear of the text encoders'
 * attention and MLP, in the order of the model.
 */
export function targetModules(
  model: TargetModel,
  { unet = true, textEncoder = true, convolutions = false }: TargetOptions = {},
): TargetModule[] {
  const nameOf = namer(model);
  const modules: TargetModule[] = [];
  for (const [weight, shape] of model.shapes) {
    const kind = kindOf(shape);
    if (!kind || !weight.endsWith('.weight')) continue;
    const inUnet =
      unet && (transformerLayer.test(weight) || (convolutions && convolutionLayer.test(weight)));
    if (!inUnet && !(textEncoder && textLayer.test(weight))) continue;
    const path = weight.slice(0, -'.weight'.length);
    const group: LoraGroup = inUnet ? 'unet' : 'text_encoder';
    modules.push({ name: nameOf(path), path, group, kind, shape });
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
