/** @file Captions as ids and as contexts. */

import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { TensorCache } from '../../src/data/tensor-cache.ts';
import { clipBos, clipEos } from '../../src/models/clip-tokenizer.ts';
import { families } from '../../src/models/families.ts';
import { modelTensorShapes } from '../../src/models/tensor-shapes.ts';
import { createOnnxExecutor } from '../../src/runtime/onnx/onnx-executor.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { FrozenTextEncoder, tokenizeBatch } from '../../src/train/text-encoding.ts';
import { familySizes } from '../helpers/tiny-models.ts';
import { drawWeights } from '../models/evaluate.ts';
import { tinyExecutor, tinyModel, tinyText } from './tiny-training.ts';

// Whole networks in plain loops; a second or so on a machine that has nothing else to do.
vi.setConfig({ testTimeout: 120_000 });

const long = Array.from({ length: 100 }, () => 'cat').join(' ');

test('a batch has the chunks of its longest caption', () => {
  const ids = tokenizeBatch(['a dog', long], tinyText());
  expect(ids.shape).toEqual([2, 2, 77]);
  const short = Array.from(tokenizeBatch(['a dog'], tinyText()).data);
  expect(Array.from(ids.data.subarray(0, 77))).toEqual(short);
  // Its second chunk is empty.
  expect(Array.from(ids.data.subarray(77, 79))).toEqual([clipBos, clipEos]);
  expect(tokenizeBatch([long], { ...tinyText(), maxTokens: 75 }).shape).toEqual([1, 1, 77]);
});

test('contexts do not depend on the batch, and are kept', async () => {
  const executor = tinyExecutor();
  let runs = 0;
  const counting = {
    ...executor,
    name: executor.name,
    compile: async (graph: Parameters<typeof executor.compile>[0]) => {
      const executable = await executor.compile(graph);
      return {
        run: (feeds: Parameters<typeof executable.run>[0]) => {
          runs++;
          return executable.run(feeds);
        },
        dispose: () => executable.dispose(),
      };
    },
    writeVariable: () => {},
    readVariable: executor.readVariable.bind(executor),
    dispose: () => executor.dispose(),
  };
  const encoder = new FrozenTextEncoder(() => counting, tinyModel, tinyText());
  const encode = async (...captions: string[]) =>
    (await encoder.encode(captions))['context'] as Tensor<'f32'>;
  const both = await encode('a dog', 'a cat');
  expect(both.shape).toEqual([2, 77, 32]);
  expect(runs).toBe(2);
  const dog = await encode('a dog');
  const cat = await encode('a cat');
  expect(runs).toBe(2);
  expect(Array.from(both.data)).toEqual([...dog.data, ...cat.data]);
  expect(Array.from(dog.data)).not.toEqual(Array.from(cat.data));

  // Two chunks: the first token and the last, and 75 of each between them. The dog's second is empty.
  const padded = await encode('a dog', long);
  expect(runs).toBe(5);
  expect(padded.shape).toEqual([2, 152, 32]);
  expect(padded.data.subarray(0, 76 * 32)).toEqual(dog.data.subarray(0, 76 * 32));
});

test('SDXL’s texts come from both encoders with the pooled text, and again from the disk', async () => {
  const shapes = modelTensorShapes(familySizes.sdxl);
  const model = { family: families.sdxl, shapes };
  const dir = mkdtempSync(join(tmpdir(), 'sdl-train-texts-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const cache = new TensorCache(dir, '.text');
  let made = 0;
  const executor = () => {
    made++;
    return createOnnxExecutor({ parameters: drawWeights(shapes), threads: 1 });
  };
  const encode = (captions: readonly string[], key = 'a') =>
    new FrozenTextEncoder(executor, model, tinyText(), { cache, key }).encode(captions);
  const first = await encode(['a dog', long]);
  expect([first['context']!.shape, first['pooled']!.shape]).toEqual([
    [2, 152, 64],
    [2, 32],
  ]);
  // The dog, its empty second chunk, and two chunks of cats.
  expect([made, readdirSync(dir).length]).toEqual([1, 2 * 4]);
  expect(await encode(['a dog', long])).toEqual(first);
  expect(made).toBe(1);
  // The pooled text is that of the first chunk.
  const alone = await encode(['a dog']);
  expect(Array.from(alone['pooled']!.data, Number)).toEqual(
    Array.from((first['pooled']!.data as Float32Array).subarray(0, 32)),
  );
  expect(made).toBe(1);
  await encode(['a dog'], 'b');
  expect(made).toBe(2);
});

test('emphasis: the numbers of weighing by hand, each chunk and each encoder by its own mean', async () => {
  const shapes = modelTensorShapes(familySizes.sdxl);
  const model = { family: families.sdxl, shapes };
  const dir = mkdtempSync(join(tmpdir(), 'sdl-train-texts-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  let made = 0;
  const executor = () => {
    made++;
    return createOnnxExecutor({ parameters: drawWeights(shapes), threads: 1 });
  };
  const store = { cache: new TensorCache(dir, '.text'), key: 'a' };
  const encode = async (text: string, emphasis = true) => {
    const options = { ...tinyText(), emphasis };
    const values = await new FrozenTextEncoder(executor, model, options, store).encode([text]);
    return [values['context']!.data, values['pooled']!.data] as Float32Array[];
  };
  const width = 64;
  /** z·w, brought back to the mean of z, for both encoders' halves. */
  const weighed = (context: Float32Array, weights: Readonly<Record<number, number>>) => {
    const out = new Float64Array(context.length);
    for (const half of [0, width / 2]) {
      const at = Array.from({ length: (77 * width) / 2 }, (_, i) => {
        const token = Math.floor(i / (width / 2));
        return { index: token * width + half + (i % (width / 2)), weight: weights[token] ?? 1 };
      });
      const before = at.reduce((sum, { index }) => sum + context[index]!, 0);
      const after = at.reduce((sum, { index, weight }) => sum + context[index]! * weight, 0);
      for (const { index, weight } of at) out[index] = (context[index]! * weight * before) / after;
    }
    return out;
  };
  const cats = 'cat '.repeat(74);
  const [[first, firstPooled], [second]] = [await encode(`${cats}dog`), await encode('cow bird')];
  expect(made).toBe(2);
  const [context, pooled] = await encode(`${cats}((dog cow:1.4)) [[bird]]`);
  const [one, two] = [
    weighed(first!, { 75: 1.4 * 1.1 }),
    weighed(second!, { 1: 1.4 * 1.1, 2: 1 / 1.21 }),
  ];
  // The first token, 75 of each chunk, and the last.
  const expected = [...one.subarray(0, 76 * width), ...two.subarray(width)];
  expect(context).toBeAllClose(Float32Array.from(expected), { rtol: 1e-4, atol: 1e-5 });
  expect(Math.abs(context![75 * width]! / first![75 * width]! - 1)).toBeGreaterThan(0.1);
  // As in the web UI, the pooled text has no weights.
  expect(pooled).toEqual(firstPooled);

  // What is weighed is kept on the disk apart, and what is not has one entry with emphasis and without.
  expect(made).toBe(3);
  expect((await encode(`${cats}((dog cow:1.4)) [[bird]]`))[0]).toEqual(context);
  expect((await encode('cow bird', false))[0]).toEqual(second);
  expect(made).toBe(3);
  await encode('cow (bird:1.2)');
  expect(made).toBe(4);
});

test('emphasis: words weigh, and captions without brackets stay as they are', async () => {
  const encode = async (caption: string, emphasis: boolean) => {
    const encoder = new FrozenTextEncoder(() => tinyExecutor(), tinyModel, {
      ...tinyText(),
      emphasis,
    });
    return (await encoder.encode([caption]))['context']!.data as Float32Array;
  };
  const plain = await encode('a dog', false);
  expect(await encode('a dog', true)).toEqual(plain);
  const heavy = await encode('a (dog:1.5)', true);
  const width = plain.length / 77;
  // The word's token is the third; all are scaled alike to keep the mean.
  const ratio = (token: number) => heavy[token * width]! / plain[token * width]!;
  expect(ratio(2) / ratio(1)).toBeCloseTo(1.5, 4);
  expect(ratio(40) / ratio(1)).toBeCloseTo(1, 4);
});
