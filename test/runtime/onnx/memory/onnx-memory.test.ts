/** @file The memory that is foretold against what was measured, from shapes alone. */

import { describe, expect, test } from 'vitest';
import { publishedSizes } from '../../../../bench/published-sizes.ts';
import { GraphBuilder } from '../../../../src/graph/graph-builder.ts';
import { loraLayout } from '../../../../src/lora/lora-layout.ts';
import { targetModules } from '../../../../src/lora/target-modules.ts';
import { families } from '../../../../src/models/families.ts';
import type { FamilyId } from '../../../../src/models/model-family.ts';
import type { ModelSizes } from '../../../../src/models/sizes.ts';
import { modelTensorShapes } from '../../../../src/models/tensor-shapes.ts';
import type { ParameterSource } from '../../../../src/runtime/executor.ts';
import { graphMemory } from '../../../../src/runtime/onnx/memory/graph-memory.ts';
import { onnxMemory } from '../../../../src/runtime/onnx/memory/onnx-memory.ts';
import { gradientGraph } from '../../../../src/train/lora-step.ts';
import { estimateMemory } from '../../../../src/train/memory-estimate.ts';
import { type MeasuredPeak, measuredPeaks } from './measured-peaks.ts';

const text = { vocabulary: 1024, positions: 77, hidden: 48, inner: 96, layers: 2 };
const { vae } = publishedSizes.sd1;

/** Small models with all the blocks of the large ones. */
const smallSizes: Partial<Record<FamilyId, ModelSizes>> = {
  sd1: {
    unet: { ...publishedSizes.sd1.unet, channels: [32, 32, 64, 64], contextChannels: 48 },
    text,
    vae,
  },
  sdxl: {
    unet: {
      ...publishedSizes.sdxl.unet,
      channels: [32, 32, 64],
      depths: [0, 1, 2],
      contextChannels: 80,
      additionChannels: 48 + 6 * 32,
    },
    text: { ...text, hidden: 32, inner: 64 },
    text2: { ...text, projection: 48 },
    vae,
  },
};

const stored: Pick<ParameterSource, 'half'> = {
  half: () => ({ type: 'f16', read: () => new Uint16Array() }),
};

/** GiB as foretold. */
function foretold({
  family,
  size,
  side,
  batch,
  checkpointing,
  isRun,
  ...rest
}: MeasuredPeak): number {
  const { halfWeights } = rest;
  const sizes = size === 'full' ? publishedSizes[family] : smallSizes[family]!;
  const shapes = modelTensorShapes(sizes);
  const model = { family: families[family], shapes, predictionType: 'epsilon' } as const;
  const modules = targetModules(model, { textEncoder: isRun });
  const layouts = (['unet', 'text_encoder'] as const)
    .map((group) =>
      loraLayout(group, modules, { rank: size === 'small' ? 4 : family === 'sd1' ? 16 : 8 }),
    )
    .filter((layout) => layout.size > 0);
  const shape = {
    batch,
    height: side / 8,
    width: side / 8,
    text: isRun ? { chunks: 1 } : { tokens: 77 },
  };
  const options = {
    clipSkip: 1,
    gradientCheckpointing: checkpointing,
    flipWeights: !checkpointing,
    halfWeights,
    keepsGraphs: true,
  };
  return estimateMemory(model, layouts, [shape], options, onnxMemory(), stored).total / 2 ** 30;
}

const titled = measuredPeaks.map((peak) => {
  const { family, size, side, batch, checkpointing, isRun, halfWeights } = peak;
  const how = `${checkpointing ? ' with checkpointing' : ''}${isRun ? ' and text encoder' : ''}${halfWeights ? ', weights in 16 bits' : ''}`;
  return [`${size} ${family}, ${batch} × ${side}${how}`, peak] as const;
});

// 15 % is what is promised; half of that is left for machines that differ.
test.each(titled)('%s', { timeout: 60_000 }, (_, peak) => {
  const ratio = foretold(peak) / peak.gib;
  expect(ratio).toBeGreaterThan(1 - 0.075);
  expect(ratio).toBeLessThan(1 + 0.075);
});

test('an alpha that is not the rank keeps no gradients for longer', { timeout: 60_000 }, () => {
  const sizes = publishedSizes.sd1;
  const shapes = modelTensorShapes(sizes);
  const model = { family: families.sd1, shapes, predictionType: 'epsilon' } as const;
  const modules = targetModules(model, { textEncoder: false });
  const [like, other] = [16, 8].map((alpha) => {
    const layouts = [loraLayout('unet', modules, { rank: 16, alpha })];
    const shape = { batch: 1, height: 64, width: 64, text: { tokens: 77 } };
    const options = { clipSkip: 1, gradientCheckpointing: true };
    return graphMemory(gradientGraph(model, layouts, shape, options), { flipWeights: false })
      .buffers;
  });
  expect(other! / like!).toBeLessThan(1.03);
});

describe('graphMemory', () => {
  const options = { flipWeights: false };
  const MiB = 2 ** 20;
  const side = 512;

  test('a chain of results in place of their input needs one buffer', () => {
    const g = new GraphBuilder();
    const x = g.input('x', [side, side]);
    // The last one is fetched, and is not of the arena.
    const out = g.exp(g.sqrt(g.exp(g.sqrt(x))));
    expect(graphMemory(g.build({ out }), options).buffers).toBe(MiB);
  });

  test('what is read again keeps its buffer', () => {
    const g = new GraphBuilder();
    const a = g.exp(g.input('x', [side, side]));
    const b = g.sqrt(a);
    const out = g.mul(g.exp(b), a);
    expect(graphMemory(g.build({ out }), options).buffers).toBe(2 * MiB);
  });

  test('weights are counted once, each layout of kernels apart', () => {
    const g = new GraphBuilder();
    const w = g.parameter('w', [8, 8]);
    const x = g.input('x', [8, 8]);
    const out = g.matmul(g.matmul(x, w), w);
    expect(graphMemory(g.build({ out }), options).weights).toBe(4 * 64);
  });
});
