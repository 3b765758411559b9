/** @file One optimizer step after the other, on a small model. */

import { expect, test, vi } from 'vitest';
import type { BatchItem } from '../../src/data/batch-plan.ts';
import { f32, type Tensor } from '../../src/tensor/tensor.ts';
import { gradientVariable } from '../../src/train/lora-step.ts';
import type { StepOutcome } from '../../src/train/lora-trainer.ts';
import { lateExecutor } from '../helpers/late-executor.ts';
import { batch, beta1, makeTrainer, rates } from './tiny-trainer.ts';
import { randomTensor, tinyExecutor, tinyText } from './tiny-training.ts';

// Whole networks in plain loops; a second or so on a machine that has nothing else to do.
vi.setConfig({ testTimeout: 120_000 });

const norm = (values: readonly number[]) => Math.hypot(...values);

test('a step changes the factors of both groups, each at its own rate', async () => {
  const { trainer, layouts, read, compiled } = makeTrainer({ unet: true, textEncoder: true });
  const before = layouts.map(({ variable }) => read(variable));
  const outcome = await trainer.step([batch(0, 1)], 0, rates);
  expect(outcome.applied).toBe(true);
  expect(outcome.loss).toBeGreaterThan(0);
  const gradients = layouts.flatMap((layout) => read(gradientVariable(layout)));
  expect(outcome.gradNorm).toBeCloseTo(norm(gradients), 5);
  for (const [i, { group, variable }] of layouts.entries()) {
    // AdamW's first step moves each factor that has a gradient by the learning rate.
    const moves = read(variable).map((value, j) => Math.abs(value - before[i]![j]!));
    expect(Math.max(...moves)).toBeCloseTo(rates[group], 3);
  }
  await trainer.step([batch(0, 1)], 1, rates);
  expect(compiled).toEqual(['2 × 16×16']);
});

test('micro-batches give the mean of their losses and gradients', async () => {
  const groups = { unet: true, textEncoder: false };
  const parts: { readonly loss: number; readonly g: readonly number[] }[] = [];
  for (const sample of [0, 1]) {
    const { trainer, read } = makeTrainer(groups);
    parts.push({ ...(await trainer.step([batch(sample)], 0, rates)), g: read('gradient.unet') });
  }
  const both = makeTrainer(groups);
  const { loss } = await both.trainer.step([batch(0), batch(1)], 0, rates);
  expect(loss).toBeCloseTo((parts[0]!.loss + parts[1]!.loss) / 2, 6);
  const mean = parts[0]!.g.map((value, i) => (value + parts[1]!.g[i]!) / 2);
  expect(both.read('gradient.unet')).toBeAllClose(mean, { rtol: 1e-4, atol: 1e-6 * norm(mean) });
  // The next step starts from zero.
  const again = await both.trainer.step([batch(0)], 1, { unet: 0, text_encoder: 0 });
  expect(again.gradNorm).toBeCloseTo(norm(both.read('gradient.unet')), 5);
});

test('a batch in parts gives the same step, its texts as long as together', async () => {
  const groups = { unet: true, textEncoder: true };
  const changes = {
    samples: [
      { caption: 'a dog', triggerWord: null },
      { caption: 'a cat, '.repeat(30), triggerWord: null },
      { caption: 'a bird', triggerWord: null },
    ],
  };
  const whole = makeTrainer(groups, changes);
  const parts = makeTrainer(groups, { ...changes, microBatch: 2, keepsGraphs: false });
  const outcomes = [];
  for (const { trainer } of [whole, parts]) {
    outcomes.push(await trainer.step([batch(0, 1, 2)], 0, { unet: 0, text_encoder: 0 }));
  }
  expect(parts.compiled).toEqual(['2 × 16×16', '1 × 16×16']);
  expect(outcomes[1]!.loss).toBeCloseTo(outcomes[0]!.loss, 6);
  for (const group of ['unet', 'text_encoder']) {
    const expected = whole.read(`gradient.${group}`);
    const found = parts.read(`gradient.${group}`);
    expect(found).toBeAllClose(expected, { rtol: 1e-4, atol: 1e-6 * norm(expected) });
  }
  // What was not kept is made again.
  await parts.trainer.step([batch(0, 1)], 1, rates);
  expect(parts.compiled).toEqual(['2 × 16×16', '1 × 16×16', '2 × 16×16']);
});

test('gradients are clipped to the norm that is asked for', async () => {
  const groups = { unet: true, textEncoder: false };
  const { trainer, read } = makeTrainer(groups, { maxGradNorm: 1e-3 });
  const { gradNorm } = await trainer.step([batch(0)], 0, rates);
  expect(gradNorm).toBeGreaterThan(2e-3);
  expect(norm(read('adam.m.unet'))).toBeCloseTo((1 - beta1) * 1e-3, 7);
  const free = makeTrainer(groups, { maxGradNorm: 1e3 });
  await free.trainer.step([batch(0)], 0, rates);
  expect(norm(free.read('adam.m.unet'))).toBeCloseTo((1 - beta1) * gradNorm, 4);
});

test('a step that is not finite changes nothing, and leaves nothing behind', async () => {
  const groups = { unet: true, textEncoder: false };
  let broken = true;
  const momentsOf = ({ sample }: BatchItem): Tensor<'f32'> =>
    broken
      ? f32([8, 2, 2], new Float32Array(32).fill(Number.NaN))
      : randomTensor([8, 2, 2], sample);
  const { trainer, read } = makeTrainer(groups, { momentsOf });
  const before = read('lora.unet');
  expect(await trainer.step([batch(0)], 0, rates)).toMatchObject({ applied: false });
  expect(read('lora.unet')).toEqual(before);
  expect(norm(read('adam.m.unet'))).toBe(0);
  broken = false;
  const healed = await trainer.step([batch(0)], 0, rates);
  const clean = makeTrainer(groups);
  expect(healed).toEqual(await clean.trainer.step([batch(0)], 0, rates));
  expect(read('lora.unet')).toEqual(clean.read('lora.unet'));
});

test('words that weigh more change the loss, through a text encoder that is trained too', async () => {
  const groups = { unet: true, textEncoder: true };
  const lossOf = async (emphasis: boolean, caption: string) => {
    const { trainer } = makeTrainer(groups, {
      step: { clipSkip: 1, gradientCheckpointing: false, emphasis },
      text: { ...tinyText(), emphasis },
      samples: [{ caption, triggerWord: null }],
    });
    const { loss, gradNorm, applied } = await trainer.step([batch(0)], 0, rates);
    expect(applied).toBe(true);
    return [loss, gradNorm] as const;
  };
  const plain = await lossOf(false, 'a dog');
  const [loss, gradNorm] = await lossOf(true, 'a dog');
  expect(loss).toBeCloseTo(plain[0], 6);
  expect(gradNorm / plain[1]).toBeCloseTo(1, 4);
  expect(Math.abs((await lossOf(true, 'a (dog:2)'))[0] - plain[0])).toBeGreaterThan(1e-5);
});

test('steps that are begun before the one before is seen change the same, skipped ones as well', async () => {
  const groups = { unet: true, textEncoder: false };
  const run = async (late: boolean) => {
    let broken = false;
    const momentsOf = ({ sample }: BatchItem): Tensor<'f32'> =>
      broken
        ? f32([8, 2, 2], new Float32Array(32).fill(Number.NaN))
        : randomTensor([8, 2, 2], sample);
    const executor = late ? lateExecutor(tinyExecutor()) : tinyExecutor();
    const { trainer, read } = makeTrainer(groups, { momentsOf, maxGradNorm: 0.1, executor });
    const outcomes: StepOutcome[] = [];
    let updates = 0;
    let before: Awaited<ReturnType<typeof trainer.begin>> | undefined;
    const see = async () => {
      const outcome = await before?.outcome();
      if (outcome) outcomes.push(outcome);
      if (outcome?.applied) updates++;
      before = undefined;
    };
    for (let step = 0; step < 5; step++) {
      broken = step === 1 || step === 3;
      const pending = await trainer.begin([batch(step % 2)], updates, rates);
      expect(pending.isDue).toBe(!late);
      await see();
      before = pending;
      if (!late) await see();
    }
    await see();
    return { outcomes, factors: read('lora.unet'), moments: read('adam.v.unet') };
  };
  const [late, inStep] = [await run(true), await run(false)];
  expect(inStep.outcomes.map(({ applied }) => applied)).toEqual([true, false, true, false, true]);
  expect(late).toEqual(inStep);
});

test('no more than one step may be unseen', async () => {
  const executor = lateExecutor(tinyExecutor());
  const { trainer } = makeTrainer({ unet: true, textEncoder: false }, { executor });
  for (let i = 0; i < 2; i++) await trainer.begin([batch(0)], 0, rates);
  await expect(trainer.begin([batch(0)], 0, rates)).rejects.toThrow('internal: a step while 2');
});
