/** @file The values that a new LoRA starts from: down random, up zero, so that it changes nothing. */

import { Rng } from '../tensor/rng.ts';
import type { LoraLayout } from './lora-layout.ts';
import { fanIn } from './target-modules.ts';

/**
 * The variable of a group before the first step. Down factors are uniform in ±1/√fan_in, which is
 * PyTorch's kaiming_uniform with a = √5; a module's draw depends on the seed, its name and its rank
 * only.
 *
 * @returns layout.size values
 */
export function initLora(layout: LoraLayout, seed: number): Float32Array {
  const values = new Float32Array(layout.size);
  for (const { module, down } of layout.slots) {
    const rng = new Rng(seed, `lora-init ${module.name}`);
    const bound = 1 / Math.sqrt(fanIn(module));
    for (let i = down.offset; i < down.offset + down.size; i++) {
      values[i] = (2 * rng.uniform() - 1) * bound;
    }
  }
  return values;
}
