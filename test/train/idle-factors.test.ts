/** @file Factors without gradient are left alone, also by weight decay. */

import { expect, test } from 'vitest';
import { f32 } from '../../src/tensor/tensor.ts';
import {
  gradientVariable,
  idleFactors,
  momentVariables,
  optimizerGraph,
} from '../../src/train/lora-step.ts';
import { guardFeeds, startGuard } from '../../src/train/step-guard.ts';
import { randomTensor, tinyExecutor, tinyLayouts, tinyModel } from './tiny-training.ts';

const layouts = tinyLayouts({ unet: true, textEncoder: true });
const [, text] = layouts as [(typeof layouts)[0], (typeof layouts)[0]];
const shape = { batch: 1, height: 8, width: 8, text: { chunks: 1 } };
const idleAt = (clipSkip: number) =>
  idleFactors(tinyModel, layouts, shape, { clipSkip, gradientCheckpointing: false });

/** The factors of the text encoder's last block. */
const lastBlock = text.slots.filter(({ module }) => module.path.includes('.layers.1.'));

test('all factors have a gradient where the last layer is read', () => {
  expect(idleAt(1)).toEqual([[], []]);
});

test('a text encoder read one layer earlier leaves its last block idle: its down factors, then its up factors', () => {
  const rangeOf = (factors: readonly { readonly offset: number; readonly size: number }[]) => ({
    start: Math.min(...factors.map(({ offset }) => offset)),
    end: Math.max(...factors.map(({ offset, size }) => offset + size)),
  });
  const downs = rangeOf(lastBlock.map(({ down }) => down));
  const ups = rangeOf(lastBlock.map(({ up }) => up));
  expect(idleAt(2)).toEqual([[], [downs, ups]]);
});

test('the optimizer leaves idle factors as they are, and moves all others', async () => {
  const executor = tinyExecutor();
  const before = randomTensor([text.size], 1);
  executor.writeVariable(text.variable, before);
  executor.writeVariable(gradientVariable(text), randomTensor([text.size], 2));
  for (const moment of momentVariables(text)) executor.writeVariable(moment, f32([text.size]));
  const options = { betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0.1 } as const;
  const idle = [
    { start: 3, end: 5 },
    { start: text.size - 2, end: text.size },
  ];
  const optimizer = await executor.compile(optimizerGraph([text], options, [idle]));
  startGuard(executor);
  await optimizer.run({
    ...guardFeeds(options, 0, { updates: 0, unsure: false }),
    'learningRate.text_encoder': f32([], [0.1]),
  });
  const after = executor.readVariable(text.variable).data;
  const kept = Array.from(after.keys()).filter((i) => after[i] === before.data[i]);
  expect(kept).toEqual([3, 4, text.size - 2, text.size - 1]);
});
