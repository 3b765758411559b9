/** @file A LoRA in the graph equals a LoRA merged into the weights, and its gradients are in order. */

import { expect, test } from 'vitest';
import { grad } from '../../src/graph/autodiff/grad.ts';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Node } from '../../src/graph/ops.ts';
import { initLora } from '../../src/lora/init-lora.ts';
import { flattenGradients, type LoraOptions, loraAdapter } from '../../src/lora/lora-adapter.ts';
import { loraLayout } from '../../src/lora/lora-layout.ts';
import { loraModules } from '../../src/lora/lora-modules.ts';
import { mergeLora } from '../../src/lora/merge.ts';
import { targetModules } from '../../src/lora/target-modules.ts';
import { conv2d, linear, networkScope, toPixels, toTokens } from '../../src/models/layers.ts';
import { sd1 } from '../../src/models/sd1/family.ts';
import type { ParameterSource } from '../../src/runtime/executor.ts';
import { Rng } from '../../src/tensor/rng.ts';
import type { Shape } from '../../src/tensor/shape.ts';
import { f32 } from '../../src/tensor/tensor.ts';
import { draw, drawWeights, evaluate } from '../models/evaluate.ts';

/** A network with a layer of each kind. */
const shapes = new Map<string, Shape>([
  ['unet.down_blocks.0.downsamplers.0.conv.weight', [6, 3, 3, 3]],
  ['unet.down_blocks.0.downsamplers.0.conv.bias', [6]],
  ['unet.down_blocks.0.resnets.0.conv_shortcut.weight', [8, 6, 1, 1]],
  ['unet.mid_block.attentions.0.proj_in.weight', [5, 8, 1, 1]],
  ['unet.mid_block.attentions.0.to_out.0.weight', [7, 5]],
  ['unet.conv_out.weight', [2, 7, 1, 1]],
]);
const weights = drawWeights(shapes);
const layout = loraLayout('unet', targetModules({ family: sd1, shapes }, { convolutions: true }), {
  rank: 4,
  alpha: 2,
  convRank: 3,
  convAlpha: 1,
});
const factors = f32([layout.size], new Rng(3, 'factors').normals(layout.size));
const variables = { [layout.variable]: factors };
const image = draw([2, 3, 5, 6], 'image');

function network(g: GraphBuilder, options?: LoraOptions) {
  const adapter = options && loraAdapter(g, [layout], options);
  const s = networkScope(g, shapes, 'unet', { adapter });
  const down = s.at('down_blocks.0');
  let x: Node = g.input('image', image.shape);
  x = conv2d(down, 'downsamplers.0.conv', x, { stride: 2, padding: 1 });
  x = conv2d(down, 'resnets.0.conv_shortcut', x);
  const [height, width] = x.shape.slice(2) as [number, number];
  const middle = s.at('mid_block.attentions.0');
  x = linear(middle, 'to_out.0', linear(middle, 'proj_in', toTokens(g, x)));
  return { out: conv2d(s, 'conv_out', toPixels(g, x, height, width)), adapter };
}

async function outputOf(
  options?: LoraOptions,
  parameters: ParameterSource = weights,
  values = factors,
): Promise<Float32Array> {
  const g = new GraphBuilder();
  const { out } = network(g, options);
  const variable = { [layout.variable]: values };
  const { out: output } = await evaluate(g, { out }, { image }, parameters, variable);
  return output!;
}

function merged(multiplier: number): ParameterSource {
  const modules = new Map(loraModules(layout, factors.data).map((module) => [module.name, module]));
  const names = new Map(layout.slots.map(({ module }) => [`${module.path}.weight`, module.name]));
  return {
    read: (name) => {
      const module = modules.get(names.get(name) ?? '');
      const weight = weights.read(name);
      return module ? mergeLora(weight, module, multiplier) : weight;
    },
  };
}

test.each([1, 0.8, -0.5])('at strength %f it equals the merged weights', async (multiplier) => {
  const expected = await outputOf(undefined, merged(multiplier));
  const tolerance = { rtol: 1e-5, atol: 1e-5 };
  expect(await outputOf({ multiplier })).toBeAllClose(expected, tolerance);
  expect(expected).not.toBeAllClose(await outputOf(), { rtol: 0.1 });
});

test('its strength may be fed', async () => {
  const g = new GraphBuilder();
  const { out } = network(g, { multiplier: g.input('strength', []) });
  const feeds = { image, strength: f32([], [0.8]) };
  const { out: output } = await evaluate(g, { out }, feeds, weights, variables);
  expect(output).toBeAllClose(await outputOf({ multiplier: 0.8 }), {
    rtol: 1e-5,
    atol: 1e-6,
  });
});

test('a new one changes nothing', async () => {
  const fresh = f32([layout.size], initLora(layout, 5));
  expect(await outputOf({}, weights, fresh)).toEqual(await outputOf());
});

test('the gradients of its factors lie where the factors do', async () => {
  const g = new GraphBuilder();
  const { out, adapter } = network(g, {});
  const loss = g.reshape(g.mean(g.square(out), [0, 1, 2, 3]), []);
  const gradients = grad(g, loss, adapter!.factors(layout));
  const flat = flattenGradients(g, layout, gradients);
  expect(flat.shape).toEqual([layout.size]);
  const { flat: values } = await evaluate(g, { flat }, { image }, weights, variables);

  const lossAt = async (index: number, step: number) => {
    const moved = f32([layout.size], factors.data.slice());
    moved.data[index]! += step;
    const y = await outputOf({}, weights, moved);
    return y.reduce((sum, v) => sum + v * v, 0) / y.length;
  };
  for (const { down, up } of layout.slots) {
    for (const slot of [down, up]) {
      const index = slot.offset + Math.floor(slot.size / 2);
      const slope = ((await lossAt(index, 1e-2)) - (await lossAt(index, -1e-2))) / 2e-2;
      // Central differences of a polynomial in f32.
      expect([values![index]!]).toBeAllClose([slope], { rtol: 2e-3, atol: 2e-3 });
    }
  }
});

test('a factor without gradient counts as zeros', () => {
  const g = new GraphBuilder();
  const flat = flattenGradients(g, layout, []);
  expect(flat.shape).toEqual([layout.size]);
});

test('a layout that is not in the adapter is our mistake', () => {
  const adapter = loraAdapter(new GraphBuilder(), []);
  expect(() => adapter.factors(layout)).toThrow('internal');
});
