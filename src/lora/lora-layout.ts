/** @file Where the factors of each module lie in the flat variable of their group. */

import { type Shape, sizeOf } from '../tensor/shape.ts';
import { downShape, type LoraGroup, type TargetModule, upShape } from './target-modules.ts';

/** A factor inside the flat variable; `offset` counts elements. */
export interface FactorSlot {
  readonly offset: number;
  readonly size: number;
  /** As in the adapter's file. */
  readonly shape: Shape;
}

export interface LoraSlot {
  readonly module: TargetModule;
  readonly rank: number;
  readonly alpha: number;
  readonly down: FactorSlot;
  readonly up: FactorSlot;
}

/** All factors of one group, as one vector, so that an optimizer is a handful of operations. */
export interface LoraLayout {
  readonly group: LoraGroup;
  /** Name of the variable: `lora.unet` or `lora.text_encoder`. */
  readonly variable: string;
  /** Its number of elements. */
  readonly size: number;
  readonly slots: readonly LoraSlot[];
}

export interface LoraRanks {
  readonly rank: number;
  /** The change is scaled by alpha / rank; `rank` unless given. */
  readonly alpha?: number | undefined;
  /** Rank of the 3x3 convolutions; needed only where they are among the modules. */
  readonly convRank?: number | undefined;
  /** 1 unless given. */
  readonly convAlpha?: number | undefined;
}

/** Lays out the modules of one group; those of the other are left out. */
export function loraLayout(
  group: LoraGroup,
  modules: readonly TargetModule[],
  { rank, alpha = rank, convRank = rank, convAlpha = 1 }: LoraRanks,
): LoraLayout {
  let size = 0;
  const slot = (shape: Shape): FactorSlot => {
    const offset = size;
    size += sizeOf(shape);
    return { offset, size: size - offset, shape };
  };
  const slots = modules
    .filter((module) => module.group === group)
    .map((module): LoraSlot => {
      // Only 3x3 kernels have a rank of their own, as in kohya's trainer.
      const [r, a] = module.kind === 'conv3x3' ? [convRank, convAlpha] : [rank, alpha];
      const down = slot(downShape(module, r));
      return { module, rank: r, alpha: a, down, up: slot(upShape(module, r)) };
    });
  return { group, variable: `lora.${group}`, size, slots };
}
