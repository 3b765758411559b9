/** @file Between the flat variable of a group and the modules of an adapter file. */

import { sameShape } from '../tensor/shape.ts';
import { f32, type Tensor } from '../tensor/tensor.ts';
import { UserError } from '../tensor/user-error.ts';
import type { FactorSlot, LoraLayout } from './lora-layout.ts';

/** The factors of one module as an adapter file holds them. */
export interface LoraModule {
  /** Such as `lora_unet_mid_block_attentions_0_proj_in`. */
  readonly name: string;
  /** [rank, in] or [rank, in, kh, kw]. */
  readonly down: Tensor<'f32'>;
  /** [out, rank] or [out, rank, 1, 1]. */
  readonly up: Tensor<'f32'>;
  readonly alpha: number;
}

/** The modules of a group; their tensors are copies. */
export function loraModules(layout: LoraLayout, values: Float32Array): LoraModule[] {
  const factor = ({ offset, size, shape }: FactorSlot) =>
    f32(shape, values.slice(offset, offset + size));
  return layout.slots.map(({ module, alpha, down, up }) => ({
    name: module.name,
    down: factor(down),
    up: factor(up),
    alpha,
  }));
}

/**
 * The variable of a group from the modules of an adapter, such as one to go on training.
 *
 * @param origin of the modules, for messages
 * @throws UserError where a module is missing, or its rank, alpha or shape differs
 */
export function loraValues(
  layout: LoraLayout,
  modules: readonly LoraModule[],
  origin: string,
): Float32Array {
  const byName = new Map(modules.map((module) => [module.name, module]));
  const values = new Float32Array(layout.size);
  for (const { module, alpha, down, up } of layout.slots) {
    const given = byName.get(module.name);
    if (!given) throw new UserError(`${origin}: the adapter has no module ${module.name}`);
    if (given.alpha !== alpha) {
      throw new UserError(
        `${origin}: ${module.name} has alpha ${given.alpha}, expected ${alpha}; set the same alpha`,
      );
    }
    for (const [slot, tensor] of [
      [down, given.down],
      [up, given.up],
    ] as const) {
      if (!sameShape(slot.shape, tensor.shape)) {
        throw new UserError(
          `${origin}: ${module.name} has a factor [${tensor.shape}], expected [${slot.shape}]; ` +
            'set the same rank, and the same base model',
        );
      }
      values.set(tensor.data, slot.offset);
    }
  }
  return values;
}
