/**
 * @file The graph of a step where layers of one input are one product and activations are computed again:
 * the same gradients as with each layer by itself.
 */

import { describe, expect, test } from 'vitest';
import { countUses } from '../../src/graph/count-uses.ts';
import type { Graph } from '../../src/graph/ops.ts';
import { runPasses } from '../../src/graph/passes/run-passes.ts';
import { peakValueBytes } from '../../src/graph/peak-bytes.ts';
import { loraLayout } from '../../src/lora/lora-layout.ts';
import { type TargetModule, targetModules } from '../../src/lora/target-modules.ts';
import type { Executor } from '../../src/runtime/executor.ts';
import { createReferenceExecutor } from '../../src/runtime/reference/reference-executor.ts';
import { createTorchExecutor } from '../../src/runtime/torch/torch-executor.ts';
import { f32, i32, type Tensor } from '../../src/tensor/tensor.ts';
import { gradientGraph, gradientVariable } from '../../src/train/lora-step.ts';
import { startGuard } from '../../src/train/step-guard.ts';
import { torchMissing } from '../helpers/executors.ts';
import { randomTensor, tinyModel, tinyParameters } from './tiny-training.ts';

const size = { batch: 2, height: 4, width: 4 };
const all = targetModules(tinyModel, { convolutions: true });
const unet = all.filter(({ group }) => group === 'unet');

/** Adapters of these modules, whose down factors are scaled: plain ones by 3/2, kernels by 1/2. */
const layoutsOf = (modules: readonly TargetModule[]) =>
  (['unet', 'text_encoder'] as const)
    .map((group) => loraLayout(group, modules, { rank: 2, alpha: 3, convRank: 2, convAlpha: 1 }))
    .filter(({ size }) => size > 0);

type Layouts = ReturnType<typeof layoutsOf>;

function graphOf(layouts: Layouts, joinsLayers: boolean, gradientCheckpointing = false): Graph {
  const trainsText = layouts.some(({ group }) => group === 'text_encoder');
  const shape = { ...size, text: trainsText ? { chunks: 1 } : { tokens: 5 } };
  const model = { ...tinyModel, joinsLayers };
  const options = { clipSkip: 1, gradientCheckpointing };
  return runPasses(gradientGraph(model, layouts, shape, options), { verify: true });
}

/** A value for each input, the same whatever reads it. */
function feedsOf(graph: Graph): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
  for (const node of graph.nodes) {
    if (node.op !== 'input') continue;
    const { name } = node.attrs;
    if (node.dtype === 'i32') {
      feeds[name] = i32(
        node.shape,
        new Int32Array(2 * 77).map((_, i) => (7 * i) % 50),
      );
    } else if (name === 'gradientKeep') feeds[name] = f32([], [0]);
    else if (name === 'gradientShare') feeds[name] = f32([], [1]);
    else if (name === 'weight') feeds[name] = f32([size.batch], [1, 2]);
    else feeds[name] = randomTensor(node.shape, name.length);
  }
  return feeds;
}

async function gradientsOf(
  executor: Executor,
  layouts: Layouts,
  joinsLayers: boolean,
  checkpointing = false,
) {
  startGuard(executor);
  for (const [i, layout] of layouts.entries()) {
    // Small: large ones would blow up what is rounded.
    const factors = randomTensor([layout.size], 1 + i).data.map((value) => 0.1 * value);
    executor.writeVariable(layout.variable, f32([layout.size], factors));
    executor.writeVariable(gradientVariable(layout), f32([layout.size]));
  }
  const graph = graphOf(layouts, joinsLayers, checkpointing);
  const { loss } = await (await executor.compile(graph)).run(feedsOf(graph));
  const gradients = layouts.map((layout) => executor.readVariable(gradientVariable(layout)).data);
  await executor.dispose();
  return { loss: loss!.data[0] as number, gradients };
}

const reference = () => createReferenceExecutor({ parameters: tinyParameters, precision: 'f64' });

const engines = {
  reference,
  ...(torchMissing === undefined
    ? {
        torch: () =>
          createTorchExecutor({
            parameters: tinyParameters,
            device: 'cpu',
            compute: 'f32',
            threads: 1,
            rowMajorNorms: true,
          }),
      }
    : {}),
};

const choices: readonly (readonly [string, readonly TargetModule[], boolean])[] = [
  ['all layers', all, false],
  ['all layers of the UNet, with checkpointing', unet, true],
  ['linear layers of the UNet', unet.filter(({ kind }) => kind === 'linear'), false],
  // Without one of three a product cannot be joined.
  ['all but the keys', unet.filter(({ path }) => !path.includes('to_k')), false],
];

describe.each(choices)('an adapter of %s', (_, modules, checkpointing) => {
  test.each(Object.entries(engines))('%s', { timeout: 60_000 }, async (_name, create) => {
    const layouts = layoutsOf(modules);
    const expected = await gradientsOf(reference(), layouts, false);
    const joined = await gradientsOf(create(), layouts, true, checkpointing);
    expect([joined.loss]).toBeAllClose([expected.loss], { rtol: 1e-5, atol: 0 });
    for (const [i, gradient] of joined.gradients.entries()) {
      const largest = expected.gradients[i]!.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
      expect(largest).toBeGreaterThan(0);
      // Sums of a few thousand products in f32, in another order.
      expect(gradient).toBeAllClose(expected.gradients[i]!, { rtol: 1e-3, atol: 2e-5 * largest });
    }
  });
});

test('there are far fewer products, and less is kept', () => {
  const layouts = layoutsOf(all);
  const products = (graph: Graph) =>
    graph.nodes.filter(({ op }) => op === 'linear' || op === 'matmul').length;
  const [apart, joined] = [graphOf(layouts, false), graphOf(layouts, true)];
  expect(products(joined)).toBeLessThan(0.75 * products(apart));
  expect(peakValueBytes(joined)).toBeLessThan(0.85 * peakValueBytes(apart));
});

test('nothing is computed for what needs no gradient', () => {
  const layouts = layoutsOf(targetModules(tinyModel, { textEncoder: false }));
  for (const graph of [graphOf(layouts, false), graphOf(layouts, true)]) {
    const kinds = new Set(graph.nodes.map(({ op }) => op));
    for (const kind of [
      'conv2dWeightGrad',
      'groupNormScaleGrad',
      'layerNormScaleGrad',
      'gatherGrad',
    ]) {
      expect(kinds).not.toContain(kind);
    }
    // Before the first adapted layer there is nothing to lead a gradient to.
    const differentiated = graph.nodes
      .filter(({ op }) => op === 'conv2dInputGrad' || op === 'groupNormInputGrad')
      .flatMap(({ inputs }) => inputs.flatMap((x) => (x.op === 'parameter' ? [x.attrs.name] : [])));
    expect(differentiated.length).toBeGreaterThan(10);
    expect(
      differentiated.filter((name) => /conv_in|down_blocks\.0\.resnets\.0|time/.test(name)),
    ).toEqual([]);
    // A bias of a frozen layer is added, and never summed for.
    const uses = countUses(graph);
    const biases = graph.nodes.filter(
      (x) => x.op === 'parameter' && x.attrs.name.endsWith('.bias'),
    );
    for (const bias of biases) expect(uses.get(bias)).toBeGreaterThan(0);
    expect(graph.nodes.filter(({ op }) => op === 'sum').length).toBeLessThan(5);
  }
});
