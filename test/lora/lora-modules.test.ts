/** @file The first values of a LoRA, and its way to modules and back. */

import { expect, test } from 'vitest';
import { initLora } from '../../src/lora/init-lora.ts';
import { loraLayout } from '../../src/lora/lora-layout.ts';
import { loraModules, loraValues } from '../../src/lora/lora-modules.ts';
import { mergeLora } from '../../src/lora/merge.ts';
import { targetModules } from '../../src/lora/target-modules.ts';
import { sd1 } from '../../src/models/sd1/family.ts';
import { sd1TensorShapes } from '../../src/models/sd1/tensor-shapes.ts';
import { f32 } from '../../src/tensor/tensor.ts';
import { UserError } from '../../src/tensor/user-error.ts';
import { tinySizes } from '../models/sd1/sd15-facts.ts';

const modules = targetModules(
  { family: sd1, shapes: sd1TensorShapes(tinySizes) },
  { convolutions: true },
);
const ranks = { rank: 4, alpha: 2, convRank: 2, convAlpha: 1 };
const layout = loraLayout('unet', modules, ranks);
const values = initLora(layout, 1);

test('down is uniform in ±1/√fan_in, up is zero', () => {
  for (const { down, up } of loraModules(layout, values)) {
    const bound = 1 / Math.sqrt(down.data.length / down.shape[0]!);
    const largest = down.data.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
    expect(largest).toBeLessThanOrEqual(bound);
    expect(largest).toBeGreaterThan(0.9 * bound);
    const mean = down.data.reduce((sum, v) => sum + v, 0) / down.data.length;
    expect(Math.abs(mean)).toBeLessThan(0.3 * bound);
    expect(up.data.every((v) => v === 0)).toBe(true);
  }
});

test('a draw depends on the seed and the module alone', () => {
  const fewer = loraLayout(
    'unet',
    targetModules({ family: sd1, shapes: sd1TensorShapes(tinySizes) }),
    ranks,
  );
  const all = new Map(loraModules(layout, values).map(({ name, down }) => [name, down.data]));
  const some = loraModules(fewer, initLora(fewer, 1));
  expect(some.length).toBeLessThan(all.size);
  for (const { name, down } of some) expect(down.data).toEqual(all.get(name));
  expect(initLora(layout, 2)).not.toEqual(values);
});

test('ranks and alphas are by kind, shapes those of a kohya file', () => {
  const byName = new Map(loraModules(layout, values).map((module) => [module.name, module]));
  const shapesOf = (name: string) => {
    const { down, up, alpha } = byName.get(`lora_unet_${name}`)!;
    return [down.shape, up.shape, alpha];
  };
  expect(shapesOf('mid_block_attentions_0_proj_in')).toEqual([[4, 32, 1, 1], [32, 4, 1, 1], 2]);
  expect(shapesOf('mid_block_attentions_0_transformer_blocks_0_attn2_to_k')).toEqual([
    [4, 24],
    [32, 4],
    2,
  ]);
  expect(shapesOf('down_blocks_1_resnets_0_conv1')).toEqual([[2, 32, 3, 3], [64, 2, 1, 1], 1]);
  expect(shapesOf('down_blocks_1_resnets_0_conv_shortcut')).toEqual([
    [4, 32, 1, 1],
    [64, 4, 1, 1],
    2,
  ]);
  expect(shapesOf('down_blocks_1_resnets_0_time_emb_proj')).toEqual([[4, 128], [64, 4], 2]);
});

test('modules come back as they went', () => {
  const random = values.map((_, i) => Math.sin(i));
  expect(loraValues(layout, loraModules(layout, random), 'a.safetensors')).toEqual(random);
});

test('an adapter of another rank, alpha or model is refused', () => {
  const stored = loraModules(layout, values);
  const refused = (other: typeof stored) => {
    expect(() => loraValues(layout, other, 'a.safetensors')).toThrow(UserError);
    expect(() => loraValues(layout, other, 'a.safetensors')).toThrow(/^a\.safetensors: /);
  };
  refused(stored.slice(1));
  refused(stored.map((module) => ({ ...module, alpha: 3 })));
  const otherRank = loraLayout('unet', modules, { ...ranks, rank: 3 });
  refused(loraModules(otherRank, initLora(otherRank, 1)));
});

test('a merge by hand', () => {
  const module = {
    name: 'm',
    down: f32([2, 3], [1, 2, 3, 4, 5, 6]),
    up: f32([2, 2], [1, 0, 2, -1]),
    alpha: 1,
  };
  // up·down = [[1, 2, 3], [-2, -1, 0]], times 0.5·1/2.
  expect(mergeLora(Float32Array.of(10, 10, 10, 10, 10, 10), module, 0.5)).toEqual(
    Float32Array.of(10.25, 10.5, 10.75, 9.5, 9.75, 10),
  );
  expect(() => mergeLora(new Float32Array(4), module, 1)).toThrow('internal');
});
