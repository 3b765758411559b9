/** @file The three networks: against PyTorch's numbers, and in other sizes. */

import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Node } from '../../src/graph/ops.ts';
import type { Checkpoint } from '../../src/models/checkpoint.ts';
import { clipTextModel } from '../../src/models/clip-text-model.ts';
import { networkScope } from '../../src/models/layers.ts';
import { sd1TensorShapes } from '../../src/models/sd1/tensor-shapes.ts';
import { openCheckpoint } from '../../src/models/single-file.ts';
import { timestepEmbedding } from '../../src/models/timestep-embedding.ts';
import { unet } from '../../src/models/unet.ts';
import { vaeDecoder, vaeEncoder } from '../../src/models/vae.ts';
import type { Shape } from '../../src/tensor/shape.ts';
import { f32, i32, type Tensor } from '../../src/tensor/tensor.ts';
import { openSafetensors, type SafetensorsFile } from '../../src/weights/safetensors-file.ts';
import { draw, drawWeights, evaluate, evaluateFast } from './evaluate.ts';
import { tinySizes } from './sd1/sd15-facts.ts';

const folder = join(import.meta.dirname, '../fixtures/golden/sd15');
let modelFile: SafetensorsFile;
let golden: SafetensorsFile;
let model: Checkpoint;

beforeAll(async () => {
  modelFile = await openSafetensors(join(folder, 'model.safetensors'));
  golden = await openSafetensors(join(folder, 'forward.safetensors'));
  model = openCheckpoint(modelFile);
});

afterAll(() => {
  modelFile.close();
  golden.close();
});

const goldenTensor = (name: string) =>
  f32(golden.entries.get(name)!.shape, golden.readF32Sync(name));

/** Within 5 roundings of f32 of the tensor's maximum; torch's own f32 is off by up to 1.3e-6. */
function expectGolden(actual: Float32Array, name: string): void {
  const expected = golden.readF32Sync(name);
  const largest = expected.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  expect(actual).toBeAllClose(expected, { rtol: 0, atol: 3e-6 * largest });
}

test('the text encoder gives PyTorch’s hidden states', async () => {
  const g = new GraphBuilder();
  const ids = i32([3, 77], golden.readF32Sync('te1.ids'));
  const scope = networkScope(g, model.shapes, 'text_encoder');
  const { hidden, last } = clipTextModel(scope, g.input('ids', ids.shape, 'i32'), { heads: 4 });
  const outputs = { hidden_0: hidden[0]!, hidden_2: hidden[2]!, last };
  const values = await evaluateFast(g, outputs, { ids }, model);
  for (const name of Object.keys(outputs)) expectGolden(values[name]!, `te1.${name}`);
});

function buildUnet(shapes: ReadonlyMap<string, Shape>, feeds: Record<string, Tensor>) {
  const g = new GraphBuilder();
  const input = (name: string) => g.input(name, feeds[name]!.shape);
  const taps = new Map<string, Node>();
  const out = unet(
    networkScope(g, shapes, 'unet'),
    { latents: input('latents'), timeProj: input('timeProj'), context: input('context') },
    { heads: () => 8, tap: (name, value) => taps.set(name, value) },
  );
  return { g, out, taps };
}

test('the UNet gives PyTorch’s noise, also where sides do not halve evenly', async () => {
  const feeds = {
    latents: goldenTensor('unet.odd.latents'),
    context: goldenTensor('unet.odd.context'),
    timeProj: timestepEmbedding(golden.readF32Sync('unet.odd.timesteps'), 32),
  };
  const { g, out } = buildUnet(model.shapes, feeds);
  const { out: noise } = await evaluateFast(g, { out }, feeds, model);
  expectGolden(noise!, 'unet.odd.out');
});

test('heads are asked for by level: down, the middle with the last, and up again', () => {
  const g = new GraphBuilder();
  const input = (name: string, ...shape: number[]) => g.input(name, shape);
  const context = goldenTensor('unet.odd.context');
  const levels: number[] = [];
  unet(
    networkScope(g, model.shapes, 'unet'),
    {
      latents: input('latents', 1, 4, 16, 16),
      timeProj: input('timeProj', 1, 32),
      context: input('context', ...context.shape),
    },
    {
      heads: (_, level) => {
        if (levels.at(-1) !== level) levels.push(level);
        return 8;
      },
    },
  );
  const last = Math.max(...levels);
  const [down, up] = [levels.slice(0, last), levels.slice(-last)];
  expect(last).toBeGreaterThan(0);
  expect(levels).toEqual([...down, last, ...up]);
  expect(down).toEqual(Array.from({ length: last }, (_, level) => level));
  expect(up).toEqual(down.toReversed());
});

test('the autoencoder gives PyTorch’s moments and picture', async () => {
  const g = new GraphBuilder();
  const scope = networkScope(g, model.shapes, 'vae');
  const feeds = { image: goldenTensor('vae.a.image'), z: goldenTensor('vae.a.decode_in') };
  const outputs = {
    moments: vaeEncoder(scope, g.input('image', feeds.image.shape)),
    decode_out: vaeDecoder(scope, g.input('z', feeds.z.shape)),
  };
  const values = await evaluateFast(g, outputs, feeds, model);
  for (const name of Object.keys(outputs)) expectGolden(values[name]!, `vae.a.${name}`);
});

const tinyShapes = sd1TensorShapes(tinySizes);
const tinyFeeds = {
  latents: draw([2, 4, 8, 4], 'latents'),
  timeProj: timestepEmbedding([10, 900], 32),
  context: draw([2, 7, 24], 'context'),
};

test('a UNet of other proportions has its own blocks, and samples do not mix', async () => {
  const { g, out, taps } = buildUnet(tinyShapes, tinyFeeds);
  expect(Object.fromEntries([...taps].map(([name, node]) => [name, node.shape.join('x')]))).toEqual(
    {
      time_embedding: '2x128',
      conv_in: '2x32x8x4',
      'down_blocks.0': '2x32x4x2',
      'down_blocks.1': '2x64x2x1',
      'down_blocks.2': '2x32x2x1',
      mid_block: '2x32x2x1',
      'up_blocks.0': '2x32x4x2',
      'up_blocks.1': '2x64x8x4',
      'up_blocks.2': '2x32x8x4',
    },
  );
  const weights = drawWeights(tinyShapes);
  const { out: both } = await evaluate(g, { out }, tinyFeeds, weights);
  const second = Object.fromEntries(
    Object.entries(tinyFeeds).map(([name, { shape, data }]) => [
      name,
      f32(shape.with(0, 1), data.slice(data.length / 2)),
    ]),
  );
  const one = buildUnet(tinyShapes, second);
  const { out: alone } = await evaluate(one.g, { out: one.out }, second, weights);
  expect(both!.slice(alone!.length)).toEqual(alone);
});

test('proj_in and proj_out may be matrices', async () => {
  const flat = new Map(
    Array.from(tinyShapes, ([name, shape]): [string, Shape] => [
      name,
      /proj_(in|out)\.weight$/.test(name) && shape.length === 4 ? shape.slice(0, 2) : shape,
    ]),
  );
  const weights = drawWeights(tinyShapes);
  const a = buildUnet(tinyShapes, tinyFeeds);
  const b = buildUnet(flat, tinyFeeds);
  const { out: asConvolutions } = await evaluate(a.g, { out: a.out }, tinyFeeds, weights);
  const { out: asMatrices } = await evaluate(b.g, { out: b.out }, tinyFeeds, weights);
  expect(asMatrices).toEqual(asConvolutions);
});

test('weights may be anything that makes nodes', () => {
  const g = new GraphBuilder();
  const made: string[] = [];
  const scope = networkScope(g, tinyShapes, 'vae', {
    makeWeight: (name, shape) => {
      made.push(name);
      return g.variable(name, shape);
    },
  });
  const moments = vaeEncoder(scope, g.input('image', [1, 3, 8, 8]));
  expect(moments.shape).toEqual([1, 8, 4, 4]);
  vaeDecoder(scope, g.input('z', [1, 4, 4, 4]));
  const all = [...tinyShapes.keys()].filter((name) => name.startsWith('vae.'));
  expect(made.sort()).toEqual(all.sort());
  expect(g.build({ moments }).nodes.some((node) => node.op === 'parameter')).toBe(false);
});

test('a weight that is not there is our mistake', () => {
  const scope = networkScope(new GraphBuilder(), tinyShapes, 'unet');
  expect(() => scope.weight('conv_inn.weight')).toThrow(
    'internal: there is no weight unet.conv_inn',
  );
});
