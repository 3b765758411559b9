/** @file Where the factors of each module lie in the flat variable of their group. */

import { inJoinOrder, joinOf } from '../models/joined-layers.ts';
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

/** Modules with those that are computed with them side by side. */
function joinedSideBySide(modules: readonly TargetModule[]): TargetModule[] {
  const joins = new Map<string, TargetModule[]>();
  for (const module of modules) {
    const key = joinOf(module.path, module.shape) ?? module.path;
    joins.set(key, [...(joins.get(key) ?? []), module]);
  }
  return [...joins.values()].flatMap((members) => {
    const byPath = new Map(members.map((module) => [module.path, module]));
    return inJoinOrder([...byPath.keys()]).map((path) => byPath.get(path)!);
  });
}

/**
 * Lays out the modules of one group; those of the other are left out. First come all down factors, those
 * of one scale together, then all up factors; of layers that are computed as one, they lie side by side.
 */
export function loraLayout(
  group: LoraGroup,
  modules: readonly TargetModule[],
  { rank, alpha = rank, convRank = rank, convAlpha = 1 }: LoraRanks,
): LoraLayout {
  const own = modules.filter((module) => module.group === group);
  // Only 3x3 kernels have a rank of their own, as in kohya's trainer.
  const isKernel = ({ kind }: TargetModule) => kind === 'conv3x3';
  const rankOf = (module: TargetModule) => (isKernel(module) ? convRank : rank);
  const placed = joinedSideBySide(own);
  const downs = [
    ...placed.filter((module) => !isKernel(module)),
    ...placed.filter((module) => isKernel(module)),
  ];
  let size = 0;
  const place = (shape: Shape): FactorSlot => {
    const offset = size;
    size += sizeOf(shape);
    return { offset, size: size - offset, shape };
  };
  const down = new Map(downs.map((module) => [module, place(downShape(module, rankOf(module)))]));
  const up = new Map(placed.map((module) => [module, place(upShape(module, rankOf(module)))]));
  const slots = own.map(
    (module): LoraSlot => ({
      module,
      rank: rankOf(module),
      alpha: isKernel(module) ? convAlpha : alpha,
      down: down.get(module)!,
      up: up.get(module)!,
    }),
  );
  return { group, variable: `lora.${group}`, size, slots };
}
